"""`fedchain run --multirun`: every combination of the overrides as a run of its own, many at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from fedchain.adapters.home import Home
from fedchain.adapters.sweep_files import JobEnd, Slot, Sweep
from fedchain.adapters.tracking import Tracker, tracked, tracking_uri
from fedchain.cli import sweep_report
from fedchain.cli.exits import Exit, worst
from fedchain.cli.multirun import Composed, compose_sweep
from fedchain.cli.screen import Screen
from fedchain.cli.sweep_display import Board, drawn, followed, sentence
from fedchain.cli.sweep_job import JobCall, run_job
from fedchain.cli.sweep_report import JobRow
from fedchain.core.errors import InputError
from fedchain.ports.launcher import Ended, Launcher
from fedchain.ports.watcher import Event, RunStarted
from fedchain.wiring.sweeps import check_sweep, known_sweep, opened_sweep, prepare_sweep, price
from fedchain.workflow.sweeping import grant_refusal


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """What the user asked for; `at_once` is how many jobs run at a time, None for as many as there are cores."""

    overrides: tuple[str, ...]
    config_dir: Path | None
    home: Path
    is_default_home: bool
    fresh: bool
    at_once: int | None


@dataclass(frozen=True, slots=True)
class _Task:
    """A job of the command: its number from 1, what it is made of, its place in the sweep's folder."""

    number: int
    job: Composed
    slot: Slot


def dry_run(options: SweepOptions, screen: Screen) -> Exit:
    """Tell what a sweep would spend, by site, and whether the grants allow it."""
    jobs = compose_sweep(options.overrides, options.config_dir)
    prepared = prepare_sweep([each.config for each in jobs])
    sites = price(prepared, options.home, None if options.fresh else known_sweep(prepared, options.home))
    refusals = [error for each in sites if (error := grant_refusal(each)) is not None]
    if screen.as_json:
        configs = [(each.varied, each.config.digest()) for each in jobs]
        screen.document(sweep_report.plan_document(configs, sites, refusals))
    else:
        sweep_report.show_plan(screen, len(jobs), sites)
    for each in refusals:
        screen.note(f"fedchain: {each}")
    return Exit.POLICY if refusals else Exit.DONE


def sweep(options: SweepOptions, screen: Screen, launch: Launcher) -> Exit:
    """Run what is not finished of a sweep, then report on all of it.

    Raises:
        ExceptionGroup: of PolicyError, if the sweep would pass a grant; nothing was trained or charged.
        InputError: if the sweep or the home is in use.
    """
    jobs = compose_sweep(options.overrides, options.config_dir)
    at_once = _at_once(options.at_once, jobs)
    prepared = prepare_sweep([each.config for each in jobs])
    check_sweep(price(prepared, options.home, None if options.fresh else known_sweep(prepared, options.home)))
    with opened_sweep(prepared, options.home, [each.varied for each in jobs], fresh=options.fresh) as found:
        tasks = [_Task(n, each, found.slot(each.config.digest())) for n, each in enumerate(jobs, start=1)]
        left = [each for each in tasks if not _is_finished(each)]
        screen.note(_beginning(found, tasks, left))
        if left:
            calls = {_call(options, each, at_once).to_line(): each for each in left}
            with _display(screen, tasks, left) as display, tracked(*_tracking(options.home, screen)) as tracker:
                _drive(calls, display, tracker, lambda: launch(run_job, list(calls), at_once))
        return _report(options, screen, found, tasks)


def _drive(
    calls: Mapping[str, _Task],
    display: _Display,
    tracker: Tracker,
    launched: Callable[[], Generator[Ended, None, None]],
) -> None:
    """See every job to its end, whatever that is."""

    def tell(number: int, event: Event) -> None:
        display.tell(number, event)
        tracker.tell(str(number), event)

    for each in calls.values():
        each.slot.forget_end()
    slots = [(each.number, each.slot) for each in calls.values()]
    with followed(slots, tell) as catch_up, closing(launched()) as endings:
        for ended in endings:
            catch_up()
            _note_death(calls[ended.line].slot, ended)
            display.end(calls[ended.line])


def _tracking(home: Path, screen: Screen) -> tuple[Path, str, Callable[[str], None]]:
    folder = Home(home).mlflow
    return folder, tracking_uri(folder, os.environ), screen.note


def _at_once(asked: int | None, jobs: Sequence[Composed]) -> int:
    """Return how many jobs may run at a time: on a chain elsewhere each takes over from the others."""
    is_elsewhere = any(each.config.ledger.name == "rpc" for each in jobs)
    if is_elsewhere and asked not in (None, 1):
        raise InputError("--jobs with ledger=rpc", expected=1, got=asked, remedy="leave it out, or use ledger=embedded")
    return 1 if is_elsewhere else min(len(jobs), asked or len(os.sched_getaffinity(0)))


def _beginning(found: Sweep, tasks: Sequence[_Task], left: Sequence[_Task]) -> str:
    done = len(tasks) - len(left)
    how = f": {done} of {len(tasks)} jobs are finished already" if done else f": {len(tasks)} jobs"
    return f"sweep {found.folder.name}{how}" + ("" if left else "; --fresh starts it again")


def _is_finished(task: _Task) -> bool:
    end = task.slot.read().end
    return end is not None and end.state == "finished"


def _call(options: SweepOptions, task: _Task, at_once: int) -> JobCall:
    return JobCall(
        working_folder=str(Path.cwd()),
        home=str(options.home.absolute()),
        sweep_folder=str(task.slot.folder.absolute()),
        config=task.slot.config,
        overrides=task.job.overrides,
        config_dir=None if options.config_dir is None else str(options.config_dir.absolute()),
        threads=max(1, len(os.sched_getaffinity(0)) // at_once),
    )


def _note_death(slot: Slot, ended: Ended) -> None:
    """Note the end of a job whose process could not."""
    if slot.read().end is None:
        why = f"its process ended: {ended.death or 'without a word'}; what it printed is in {slot.log}"
        slot.note_end(JobEnd("failed", Exit.INPUT, (why,), 0, {}, {}))


class _Display:
    """Tells of jobs in lines, or on a board."""

    def __init__(self, screen: Screen, tasks: Sequence[_Task], board: Board | None) -> None:
        self._screen = screen
        self._tasks = tasks
        self._board = board
        self._rounds: dict[int, int] = {}

    def tell(self, number: int, event: Event) -> None:
        """Tell what a job said."""
        if isinstance(event, RunStarted):
            self._rounds[number] = event.rounds
        if self._board is not None:
            self._board.take(number, event)
            return
        words = sentence(event, self._rounds.get(number, 0))
        if words is not None:
            self._screen.note(f"{self._name(number)}: {words}")

    def end(self, task: _Task) -> None:
        """Tell how a job ended, if it failed."""
        end = task.slot.read().end
        if self._board is not None:
            self._board.end(task.number)
            return
        for line in () if end is None else end.errors:
            self._screen.note(f"{self._name(task.number)}: failed: {line}")

    def _name(self, number: int) -> str:
        varied = " ".join(self._tasks[number - 1].job.varied)
        return f"job {number} of {len(self._tasks)}" + (f" ({varied})" if varied else "")


@contextmanager
def _display(screen: Screen, tasks: Sequence[_Task], left: Sequence[_Task]) -> Iterator[_Display]:
    """A live picture on a terminal, plain lines elsewhere; standard error in both cases."""
    if not screen.err.isatty() or os.environ.get("TERM") == "dumb":
        yield _Display(screen, tasks, None)
        return
    board = Board([" ".join(each.job.varied) for each in tasks], len(tasks) - len(left))
    with drawn(Console(file=screen.err), board):
        yield _Display(screen, tasks, board)


def _report(options: SweepOptions, screen: Screen, found: Sweep, tasks: Sequence[_Task]) -> Exit:
    rows = [_row(each) for each in tasks]
    code = worst(Exit(each.end.exit) for each in rows)
    if screen.as_json:
        where = {
            "trust_file": str(options.home / "trust.json"),
            "verify": sweep_report.run_command(options.home, "RUN", is_default_home=options.is_default_home),
        }
        screen.document(sweep_report.document(found.folder.name, rows, code, where))
    else:
        sweep_report.show(screen, found.folder.name, rows, options.home, is_default_home=options.is_default_home)
    return code


def _row(task: _Task) -> JobRow:
    record = task.slot.read()
    if record.end is None:
        raise AssertionError("every job has an end by now")
    return JobRow(task.number, task.job.varied, task.slot.config, record.run, record.end)
