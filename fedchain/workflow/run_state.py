"""The state of a run, replayed from its journal: what was decided, what is still to do.

Each journal step has one body; `RunState.apply` is the only place where a step changes the state, for a live run and
for a replay alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from fedchain.core import document
from fedchain.core.manifest import ArtifactRef, RejectedReply
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.task import SignedPromise, UpdateHeader
from fedchain.core.trust import SignedReceipt
from fedchain.ports.journal import Entry, Step


@dataclass(frozen=True, slots=True)
class Planned:
    """The run exists: its id, the CID of its manifest and the digest of its configuration."""

    run: bytes
    manifest_cid: str
    config_digest: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """A round (or another attempt at it) is open: tasks may go out. Seconds since 1970."""

    round: int
    attempt: int
    base_model: ArtifactRef
    opened_at: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """An update was admitted and its payload stored; the promise may go out."""

    round: int
    node: int
    signer: bytes
    header: UpdateHeader
    payload_cid: str
    promise: SignedPromise


@dataclass(frozen=True, slots=True)
class Rejected:
    """A reply was refused in an open round; the evidence is stored."""

    reply: RejectedReply


@dataclass(frozen=True, slots=True)
class Decided:
    """The round's outcome is final: model and manifest are stored, the link's content is fixed."""

    link: RoundLink
    model: ArtifactRef
    manifest_cid: str
    reason: str
    accepted: tuple[Accepted, ...]
    rejected: tuple[RejectedReply, ...]
    state: ArtifactRef | None = None


@dataclass(frozen=True, slots=True)
class Sealing:
    """The link is about to be sent after this previous hash."""

    round: int
    previous_hash: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """The link stands on the ledger, with the registry head that entered its hash."""

    round: int
    round_hash: bytes
    previous_hash: bytes
    registry_head: bytes
    transaction: bytes


@dataclass(frozen=True, slots=True)
class Countersigned:
    """A site's receipt over a sealed round."""

    round: int
    receipt: SignedReceipt


@dataclass(frozen=True, slots=True)
class Finished:
    """The run is closed on the ledger and every receipt that could be had is in."""

    run: bytes


Body: TypeAlias = Planned | Opened | Accepted | Rejected | Decided | Sealing | Sealed | Countersigned | Finished


class Note(Protocol):
    """Journals bodies durably, in their order, and then lets the state follow."""

    def __call__(self, *bodies: Body) -> None:
        """Note them."""
        ...


_STEPS: dict[Step, type[Body]] = {
    Step.PLANNED: Planned,
    Step.OPENED: Opened,
    Step.ACCEPTED: Accepted,
    Step.REJECTED: Rejected,
    Step.DECIDED: Decided,
    Step.SEALING: Sealing,
    Step.SEALED: Sealed,
    Step.COUNTERSIGNED: Countersigned,
    Step.FINISHED: Finished,
}
_NAMES = {cls: step for step, cls in _STEPS.items()}


def entry_of(body: Body) -> Entry:
    """Return the journal entry of a body."""
    return Entry(_NAMES[type(body)], document.to_bytes(body))


def body_of(entry: Entry) -> Body:
    """Return the body of a journal entry."""
    return document.from_bytes(_STEPS[entry.step], entry.body)


@dataclass(slots=True)
class RunState:
    """What the journal says so far. `pending` is what the open round has collected."""

    planned: Planned | None = None
    opened: Opened | None = None
    accepted: dict[bytes, Accepted] = field(default_factory=dict[bytes, Accepted])
    rejected: list[RejectedReply] = field(default_factory=list[RejectedReply])
    decided: dict[int, Decided] = field(default_factory=dict[int, Decided])
    sealed: dict[int, Sealed] = field(default_factory=dict[int, Sealed])
    receipts: dict[int, dict[bytes, SignedReceipt]] = field(default_factory=dict[int, dict[bytes, SignedReceipt]])
    is_finished: bool = False

    @classmethod
    def replay(cls, entries: Iterable[Entry]) -> RunState:
        """Return the state after the given entries."""
        state = cls()
        for entry in entries:
            state.apply(body_of(entry))
        return state

    def apply(self, body: Body) -> None:
        """Advance the state by one step."""
        match body:
            case Planned():
                self.planned = body
            case Opened():
                if self.opened is None or self.opened.round != body.round:
                    self.accepted = {}
                self.opened = body
            case Accepted():
                self.accepted[body.signer] = body
            case Rejected():
                self.rejected.append(body.reply)
            case Decided():
                self.decided[body.link.round] = body
                self.opened, self.accepted, self.rejected = None, {}, []
            case Sealed():
                self.sealed[body.round] = body
            case Countersigned():
                self.receipts.setdefault(body.round, {})[body.receipt.signer] = body.receipt
            case Sealing() | Finished():
                self.is_finished = isinstance(body, Finished)

    @property
    def rounds_ended(self) -> int:
        """How many rounds were decided, aborted ones included, the closing link not."""
        return sum(1 for each in self.decided.values() if each.link.kind is not LinkKind.CLOSED)

    @property
    def rounds_sealed(self) -> int:
        """How many rounds gave a new model."""
        return sum(1 for each in self.decided.values() if each.link.kind is LinkKind.SEALED)

    @property
    def refused(self) -> tuple[tuple[int, RejectedReply], ...]:
        """Every rejection with the round that recorded it."""
        return tuple((round_, each) for round_ in sorted(self.decided) for each in self.decided[round_].rejected)

    @property
    def is_closed(self) -> bool:
        """Whether the closing link is decided."""
        return any(each.link.kind is LinkKind.CLOSED for each in self.decided.values())

    @property
    def last_model(self) -> ArtifactRef | None:
        """The newest global model, or None before the first round ended."""
        return self.decided[max(self.decided)].model if self.decided else None

    @property
    def last_state(self) -> ArtifactRef | None:
        """The newest state of the server's optimiser; None where there is none, or none yet."""
        return self.decided[max(self.decided)].state if self.decided else None
