"""What the jobs of a sweep say while they run: read from their files, told as lines or drawn as bars."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedchain.adapters.files import explained
from fedchain.adapters.sweep_files import Slot
from fedchain.adapters.tracking import from_line
from fedchain.cli.text import hex_id, safe, short
from fedchain.ports.watcher import Event, Notice, RoundEnded, RunEnded, RunStarted

POLL_S: Final = 0.2
Tell: TypeAlias = Callable[[int, Event], None]
"""Takes the number of a job and what it said."""


@dataclass(slots=True)
class _Tail:
    """The file of one job's events, read as far as it is whole."""

    number: int
    path: Path
    file: BinaryIO | None = None
    rest: bytes = b""

    def take(self, tell: Tell) -> None:
        """Tell what came since the last time."""
        if self.file is None:
            if not self.path.exists():
                return
            self.file = self.path.open("rb")
        *lines, self.rest = (self.rest + self.file.read()).split(b"\n")
        for line in lines:
            _, event = from_line(line)
            tell(self.number, event)


@contextmanager
def followed(slots: Sequence[tuple[int, Slot]], tell: Tell) -> Iterator[Callable[[], None]]:
    """Tell what jobs say, from a thread, until the block ends; what is given catches up at once."""
    tails = [_Tail(number, slot.events) for number, slot in slots]
    for tail in tails:
        with explained(tail.path):
            tail.path.unlink(missing_ok=True)  # of an earlier time
    stop, lock = threading.Event(), threading.Lock()

    def catch_up() -> None:
        with lock:
            for tail in tails:
                with explained(tail.path):
                    tail.take(tell)

    def follow() -> None:
        while not stop.wait(POLL_S):
            catch_up()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield catch_up
    finally:
        stop.set()
        thread.join()
        catch_up()
        for tail in tails:
            if tail.file is not None:
                tail.file.close()


def sentence(event: Event, rounds: int) -> str | None:
    """Return what a job said in words, None for what a sweep is silent about; its run is to have so many rounds."""
    match event:
        case RunStarted():
            how = f"resumes at round {event.first_round}" if event.is_resumed else "starts"
            return f"run {hex_id(event.run)} {how}"
        case RoundEnded() if event.abort_reason:
            return f"round {event.round} of {rounds} aborted: {event.abort_reason}"
        case RoundEnded():
            return f"round {event.round} of {rounds}"
        case RunEnded():
            return "ended"
        case Notice():
            return event.text
        case _:
            return None


@dataclass(slots=True)
class Board:
    """How far each job is; `show` draws it."""

    names: Sequence[str]
    finished: int
    rounds: dict[int, tuple[str, int, int]] = field(default_factory=dict[int, tuple[str, int, int]])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, number: int, event: Event) -> None:
        """Note what a job said."""
        with self.lock:
            run, _, of = self.rounds.get(number, ("", 0, 1))
            match event:
                case RunStarted():
                    self.rounds[number] = event.run, event.first_round - 1, event.rounds
                case RoundEnded():
                    self.rounds[number] = run, event.round, of
                case _:
                    pass

    def end(self, number: int) -> None:
        """Note that a job is over."""
        with self.lock:
            self.rounds.pop(number, None)
            self.finished += 1

    def show(self) -> RenderableType:
        """Return the picture."""
        with self.lock:
            bar = Table.grid(padding=(0, 1))
            total = len(self.names)
            bar.add_row(
                ProgressBar(total=total, completed=self.finished, width=40), Text(f"{self.finished} of {total} jobs")
            )
            table = Table(box=None, pad_edge=False, show_header=False)
            for number, (run, done, of) in sorted(self.rounds.items()):
                table.add_row(
                    Text(f"job {number}"), Text(safe(self.names[number - 1], 80)), Text(short(run)),
                    ProgressBar(total=of, completed=min(done, of), width=20), Text(f"{done} of {of} rounds"),
                )  # fmt: skip
            return Group(bar, table)


@contextmanager
def drawn(console: Console, board: Board) -> Iterator[None]:
    """Keep the picture on the console up to date; the last picture stays."""
    with Live(console=console, get_renderable=board.show, refresh_per_second=4, redirect_stdout=False):
        yield
