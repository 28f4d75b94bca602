"""What a run says while it runs, where no terminal can show it live: one plain line an event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fedchain.cli.screen import Screen
from fedchain.cli.text import epsilon_text, hex_id, short
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
)

ROWS: Final = "rows"
"""The one metric that counts: how many held-out rows the others are computed on."""


class PlainDisplay:
    """A watcher that writes a line for each event to standard error."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._rounds = 0

    def __call__(self, event: Event) -> None:
        """Tell one event."""
        if isinstance(event, RunStarted):
            self._rounds = event.rounds
        self._screen.note(sentence(event, self._rounds))


def sentence(event: Event, rounds: int) -> str:
    """Return the event in words; `rounds` is how many the run is to have."""
    match event:
        case RunStarted():
            return _started(event)
        case RunEnded():
            return f"run {hex_id(event.run)}: ended"
        case Notice():
            return event.text
        case ModelKept():
            return f"run {hex_id(event.run)}: its files are in {event.folder}"
        case RoundSealed(closes_run=True):
            return f"end of the run: sealed, ledger head {hex_id(event.round_hash)}"
        case ReceiptSigned(closes_run=True):
            return f"end of the run: {short(event.client)} co-signed"
    return f"{place(event.round, rounds)}: {_in_round(event)}"


def place(round_: int, rounds: int) -> str:
    """Return a round of so many; beyond them are only the link that closes the run and rounds after aborted ones."""
    return f"round {round_}/{rounds}" if round_ <= rounds else f"link {round_}"


def metrics_text(metrics: Mapping[str, float]) -> str:
    """Return metrics as "name value" pairs."""
    return ", ".join(f"{name} {value:.3f}" for name, value in sorted(metrics.items()) if name != ROWS)


def _started(event: RunStarted) -> str:
    how = f"resumes the interrupted run at round {event.first_round}" if event.is_resumed else "starts"
    members = f"{len(event.clients)} clients ({', '.join(map(short, event.clients))})"
    return f"run {hex_id(event.run)}: {how}: experiment {event.experiment}, {event.rounds} rounds, {members}"


def _in_round(
    event: RoundOpened | UpdateAdmitted | ReplyRejected | RoundEnded | RoundSealed | ReceiptSigned | Evaluated,
) -> str:
    match event:
        case RoundOpened():
            return "training" + (f" (attempt {event.attempt})" if event.attempt > 1 else "")
        case UpdateAdmitted():
            run, total = epsilon_text(event.run_micro_epsilon), epsilon_text(event.micro_epsilon_total)
            return f"{short(event.client)} admitted, epsilon {run} in this run, {total} over the dataset's lifetime"
        case ReplyRejected():
            return f"{short(event.client)} rejected: {event.reason}"
        case RoundEnded():
            return f"aborted: {event.abort_reason}" if event.abort_reason else f"new model {event.model_cid}"
        case RoundSealed():
            return f"sealed, ledger head {hex_id(event.round_hash)}"
        case ReceiptSigned():
            return f"{short(event.client)} found its update in the sealed round and co-signed"
        case Evaluated():
            return f"on held-out splits (simulation): {metrics_text(event.metrics.get('overall', {}))}"
