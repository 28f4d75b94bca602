"""What a run tells those who watch it: the display, the tracker, a log. Watching never changes a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run begins, or goes on after an interruption at `first_round`. Ids are hex."""

    run: str
    federation: str
    experiment: str
    rounds: int
    first_round: int
    is_resumed: bool
    clients: tuple[str, ...]
    config: str
    """The resolved configuration, canonical JSON."""
    sweep: str = ""
    """The name of the sweep that the run is a job of, if it is."""


@dataclass(frozen=True, slots=True)
class RoundOpened:
    """Tasks go out."""

    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class UpdateAdmitted:
    """A client's update passed the gate; privacy in micro-epsilon, this run so far and over the dataset's lifetime."""

    round: int
    client: str
    run_micro_epsilon: int
    micro_epsilon_total: int


@dataclass(frozen=True, slots=True)
class ReplyRejected:
    """A reply was refused, for a recorded reason."""

    round: int
    client: str
    reason: str


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """The round's outcome is decided and stored: a new model, or an abort with a reason."""

    round: int
    model_cid: str
    model_digest: str
    abort_reason: str


@dataclass(frozen=True, slots=True)
class RoundSealed:
    """The link stands on the ledger; `closes_run` where it is the closing link, which no training belongs to."""

    round: int
    round_hash: str
    transaction: str
    closes_run: bool = False


@dataclass(frozen=True, slots=True)
class ReceiptSigned:
    """A site checked its inclusion and co-signed the round hash, or the closing link's."""

    round: int
    client: str
    closes_run: bool = False


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Metrics of a round's model by client and "overall" (simulation: on held-out splits); NaN is left out."""

    round: int
    metrics: dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Notice:
    """A line for whoever watches, which changes nothing of the run."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelKept:
    """The newest model of an ended run, with its seal; `folder` holds its files and the metrics by round.

    `chain` is the chain's id and the contract of the rounds, as "id:0x...". `metric` is the one that the run is watched
    by. `note` is what has to stand with any figure of it; a try-out is no model to be registered.
    """

    run: str
    experiment: str
    round: int
    model_cid: str
    model_digest: str
    round_hash: str
    chain: str
    metric: str
    folder: str
    note: str = ""
    is_debug: bool = False


@dataclass(frozen=True, slots=True)
class RunEnded:
    """The run is closed."""

    run: str


Event: TypeAlias = (
    RunStarted
    | RoundOpened
    | UpdateAdmitted
    | ReplyRejected
    | RoundEnded
    | RoundSealed
    | ReceiptSigned
    | Evaluated
    | Notice
    | ModelKept
    | RunEnded
)
Watcher: TypeAlias = Callable[[Event], None]
