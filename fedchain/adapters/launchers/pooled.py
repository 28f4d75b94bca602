"""joblib's workers (an extra): processes that it keeps and reuses, with whatever backend options a user has set up.

A worker that is killed takes the jobs with it that its siblings were at: joblib gives the whole pool up then.
"""

from __future__ import annotations

import importlib
from collections.abc import Generator, Sequence

from fedchain.adapters.launchers.extras import require
from fedchain.ports.launcher import Ended, Work


def launch(work: Work, lines: Sequence[str], at_once: int) -> Generator[Ended, None, None]:
    """See Launcher."""
    joblib = importlib.import_module("joblib")
    left = list(lines)
    # With one worker joblib would call the work in this very process.
    workers = max(2, at_once)
    pool = joblib.Parallel(workers, backend="loky", return_as="generator_unordered", pre_dispatch=at_once, batch_size=1)
    try:
        for line in pool(joblib.delayed(_called)(work, line) for line in lines):
            left.remove(line)
            yield Ended(line, "")
    except RuntimeError as error:  # loky's BrokenProcessPool
        for line in left:
            yield Ended(line, f"joblib gave up: {' '.join(str(error).split())[:200]}")


def check() -> None:
    """Check that joblib is there.

    Raises:
        InputError: if it is not installed.
    """
    require("joblib")


def _called(work: Work, line: str) -> str:
    work(line)
    return line
