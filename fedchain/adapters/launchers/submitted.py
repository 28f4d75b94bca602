"""submitit's executors (an extra): Slurm where this machine has it, else processes of this machine.

Each job is one submission, and no more than so many are under way. Parameters are submitit's own, such as
`timeout_min=600` for both and `slurm_partition=gpu` for Slurm; `cluster=local` keeps to this machine. What submitit
pickles lies in a folder of the home and is read by this user's jobs alone.
"""

from __future__ import annotations

import importlib
import time
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fedchain.adapters.files import make_folder
from fedchain.adapters.launchers.extras import require
from fedchain.core.errors import InputError
from fedchain.ports.launcher import Ended, Work

_POLL_S: Final = 0.5
_WEEK_MIN: Final = 7 * 24 * 60
"""Submitit's own default would end a job after five minutes."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A launcher; submitit's files go into `folder`."""

    folder: Path
    parameters: Mapping[str, str]

    def __call__(self, work: Work, lines: Sequence[str], at_once: int) -> Generator[Ended, None, None]:
        """See Launcher."""
        executor = self._executor()
        waiting, running = deque(lines), list[tuple[str, Any]]()
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    line = waiting.popleft()
                    running.append((line, executor.submit(work, line)))
                done = [each for each in running if each[1].done()]
                for line, job in done:
                    running.remove((line, job))
                    yield Ended(line, _death(job))
                if not done:
                    time.sleep(_POLL_S)
        finally:
            for _, job in running:
                job.cancel()

    def _executor(self) -> Any:  # noqa: ANN401  # an optional package's
        make_folder(self.folder)
        values = {name: int(text) if text.isdecimal() else text for name, text in self.parameters.items()}
        cluster = values.pop("cluster", None)
        try:
            executor = importlib.import_module("submitit").AutoExecutor(folder=self.folder, cluster=cluster)
            executor.update_parameters(**{"timeout_min": _WEEK_MIN, "name": "fedchain"} | values)
        except (AssertionError, NameError, ValueError) as error:
            raise InputError(
                "--launcher-option", expected="submitit's parameters", got=str(error).split("\n")[0][:200],
                remedy="such as timeout_min=600 or slurm_partition=gpu",
            ) from error  # fmt: skip
        return executor


def check() -> None:
    """Check that submitit is there.

    Raises:
        InputError: if it is not installed.
    """
    require("submitit")


def _death(job: Any) -> str:  # noqa: ANN401  # an optional package's
    error = job.exception()
    return "" if error is None else " ".join(str(error).split())[:200]
