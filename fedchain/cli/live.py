"""The live display of a run on a terminal: progress of the rounds, a line for each hospital, the state of sealing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fedchain.cli.display import metrics_text, place, sentence
from fedchain.cli.text import epsilon_text, hex_id, safe, short
from fedchain.ports.watcher import (
    Evaluated,
    Event,
    ModelKept,
    Notice,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    RunStarted,
    UpdateAdmitted,
    Watcher,
)


@dataclass(slots=True)
class _Hospital:
    state: str = "waiting"
    epsilon: str = ""
    total: str = ""
    co_signed: str = ""


@dataclass(slots=True)
class Board:
    """What is known of the run so far; `show` draws it. Events may come from several threads."""

    title: str = "getting ready"
    rounds: int = 0
    round: int = 0
    ended: int = 0
    sealing: str = ""
    metrics: str = ""
    notice: str = ""
    hospitals: dict[str, _Hospital] = field(default_factory=dict[str, _Hospital])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, event: Event) -> None:
        """Note an event."""
        with self._lock:
            self._note(event)

    def show(self) -> RenderableType:
        """Return the picture."""
        with self._lock:
            table = Table(box=None, pad_edge=False, header_style="bold")
            for name in ("hospital", f"round {self.round}", "epsilon, this run", "over lifetime", "co-signed"):
                table.add_column(Text(name))
            for name, each in self.hospitals.items():
                cells = (short(name), each.state, each.epsilon, each.total, each.co_signed)
                table.add_row(*(Text(safe(cell, 60)) for cell in cells))
            bar = Table.grid(padding=(0, 1))
            progress = ProgressBar(total=max(self.rounds, 1), completed=self.ended, width=40)
            bar.add_row(progress, Text(f"{self.ended} of {self.rounds} rounds"))
            tail = [Text(safe(line)) for line in (self.sealing, self.metrics, self.notice) if line]
            return Group(Text(safe(self.title), style="bold"), bar, table, *tail)

    def _note(self, event: Event) -> None:
        match event:
            case RunStarted():
                self.title, self.rounds = sentence(event, event.rounds), event.rounds
                self.round = self.ended = event.first_round - 1
                self.hospitals = {name: _Hospital() for name in event.clients}
            case RoundOpened():
                self.round = event.round
                for each in self.hospitals.values():
                    each.state = "training"
            case RoundEnded():
                self.ended = max(self.ended, event.round)
                self.sealing = f"{place(event.round, self.rounds)}: {event.abort_reason or 'model stored, sealing'}"
            case RoundSealed():
                where = "end of the run" if event.closes_run else place(event.round, self.rounds)
                self.sealing = f"{where}: sealed, ledger head {hex_id(event.round_hash)}"
            case Evaluated():
                overall = metrics_text(event.metrics.get("overall", {}))
                self.metrics = f"{place(event.round, self.rounds)}: on held-out splits (simulation): {overall}"
            case Notice() | ModelKept():
                self.notice = sentence(event, self.rounds)
            case RunEnded():
                self.title = sentence(event, self.rounds)
            case UpdateAdmitted() | ReplyRejected() | ReceiptSigned():
                self._note_hospital(event)

    def _note_hospital(self, event: UpdateAdmitted | ReplyRejected | ReceiptSigned) -> None:
        hospital = self.hospitals.setdefault(event.client, _Hospital())
        match event:
            case UpdateAdmitted():
                hospital.state = "admitted"
                hospital.epsilon = epsilon_text(event.run_micro_epsilon)
                hospital.total = epsilon_text(event.micro_epsilon_total)
            case ReplyRejected():
                hospital.state = f"rejected: {event.reason}"
            case ReceiptSigned():
                hospital.co_signed = "the end" if event.closes_run else place(event.round, self.rounds)


@contextmanager
def live(console: Console) -> Iterator[Watcher]:
    """Give a watcher that keeps the picture on the console up to date; the last picture stays."""
    board = Board()
    with Live(console=console, get_renderable=board.show, refresh_per_second=8, redirect_stdout=False):
        yield board.take
