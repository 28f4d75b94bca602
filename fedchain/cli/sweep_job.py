"""One job of a sweep, in a process of its own: a run with its own journal, whose outcome goes into the sweep's folder.

This module imports all that a run needs, so that a process that is forked after it has been imported starts at once.
"""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import torch

from fedchain.adapters.files import PRIVATE_FILE, explained
from fedchain.adapters.sweep_files import JobEnd, Slot
from fedchain.adapters.tracking import to_line
from fedchain.cli.compose import compose
from fedchain.cli.exits import Exit, exit_of_error, worst
from fedchain.cli.simulation import simulate_wanted
from fedchain.config import ExperimentConfig
from fedchain.core import document
from fedchain.core.errors import FedchainError, InputError
from fedchain.ports.watcher import Event, Watcher
from fedchain.wiring.simulation import Wanted
from fedchain.workflow.summary import RunSummary


@dataclass(frozen=True, slots=True)
class JobCall:
    """What a job's process is told: where it works, which job it is, and how many threads it may keep busy."""

    working_folder: str
    home: str
    sweep_folder: str
    config: bytes
    overrides: tuple[str, ...]
    config_dir: str | None
    threads: int

    @property
    def slot(self) -> Slot:
        """The job's place in the folder of its sweep."""
        return Slot(Path(self.sweep_folder), self.config)

    def to_line(self) -> str:
        """Return this as a line of text."""
        return document.to_bytes(self).decode()

    @classmethod
    def from_line(cls, line: str) -> JobCall:
        """Read what `to_line` made."""
        return document.from_bytes(cls, line.encode())


def run_job(line: str) -> None:
    """Run a job to its end and note that; whatever it fails with is noted, too."""
    call = JobCall.from_line(line)
    slot = call.slot
    os.chdir(call.working_folder)
    torch.set_num_threads(call.threads)
    with os.fdopen(_opened(slot.log, os.O_APPEND), "a") as log, redirect_stdout(log), redirect_stderr(log):
        slot.note_end(_ended(call, slot))


def _ended(call: JobCall, slot: Slot) -> JobEnd:
    try:
        slot.check_machine(platform.node())
        with _told(slot) as watcher:
            return _finished(simulate_wanted(Wanted(slot=slot), _config(call), Path(call.home), watcher))
    except (FedchainError, ExceptionGroup) as error:
        errors = list(_flat(error))
        if all(isinstance(each, FedchainError) for each in errors):
            codes = [exit_of_error(each) for each in errors if isinstance(each, FedchainError)]
            return _failed(worst(codes), [str(each) for each in errors])
        return _crashed(error, slot)
    except Exception as error:  # noqa: BLE001 - the outermost edge of this process: a crash of ours is one line
        return _crashed(error, slot)


def _config(call: JobCall) -> ExperimentConfig:
    config = compose(call.overrides, None if call.config_dir is None else Path(call.config_dir))
    if config.digest() != call.config:
        raise InputError("the configuration was changed since the sweep began", remedy="repeat the command")
    return config


@contextmanager
def _told(slot: Slot) -> Iterator[Watcher]:
    """Give a watcher that writes a line an event for whoever launched the job."""
    file = os.fdopen(_opened(slot.events, os.O_TRUNC), "wb", buffering=0)

    def watch(event: Event) -> None:
        with explained(slot.events):
            file.write(to_line(event))

    with file:
        yield watch


def _opened(path: Path, how: int) -> int:
    with explained(path):
        return os.open(path, os.O_WRONLY | os.O_CREAT | how, PRIVATE_FILE)


def _finished(summary: RunSummary) -> JobEnd:
    overall = summary.metrics.get("overall", {})
    return JobEnd(
        state="finished",
        exit=Exit.DONE,
        errors=(),
        rounds=summary.rounds,
        metrics={name: repr(value) for name, value in sorted(overall.items())},
        micro_epsilon={each.client: each.micro_epsilon for each in summary.privacy},
    )


def _crashed(error: BaseException, slot: Slot) -> JobEnd:
    traceback.print_exception(error)  # standard error is the job's log here
    line = f"{type(error).__name__}: {error}"
    return _failed(Exit.BUG, [f"a bug of fedchain ({line[:200]}); please report it with {slot.log}"])


def _failed(code: Exit, errors: list[str]) -> JobEnd:
    return JobEnd("failed", code, tuple(errors), 0, {}, {})


def _flat(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _flat(each)
    else:
        yield error
