"""The ledger and its registry in memory: the rules are those of the replay that the verifier trusts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError, RejectedTransactionError
from fedchain.core.messages import AddOrganisation, ConsentGrant, RegistryMessage
from fedchain.core.record import LinkContext, LinkKind, RoundLink, head_slot, round_hash
from fedchain.core.registry import RegistryState, check_authority
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, RegistryEvent, Seal


@dataclass(slots=True)
class MemoryRecord:
    """What both doubles write to; `events` is open to tests that drop or alter one."""

    identity: LedgerIdentity
    clock: Clock
    operator: bytes
    aggregator: bytes
    events: list[LedgerEvent] = field(default_factory=list[LedgerEvent])
    state: RegistryState = field(default_factory=RegistryState)
    slots: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    last: int = 0

    def next_time(self) -> int:
        """Return the time of the next transaction; no two have the same time."""
        return max(self.clock.now(), self.last + 1)

    def transact(self, at: int) -> bytes:
        """Return the hash of a transaction that was taken at a time."""
        self.last = at
        return keccak(b"transaction" + at.to_bytes(8))


class MemoryLedger:
    """The Ledger port as one sender."""

    def __init__(self, record: MemoryRecord, sender: bytes) -> None:
        self._record = record
        self._sender = sender

    def identity(self) -> LedgerIdentity:
        return self._record.identity

    def events(self) -> Sequence[LedgerEvent]:
        return list(self._record.events)

    def registry_head(self) -> bytes:
        return self._record.state.head

    def head_slot(self, run: bytes) -> bytes:
        return self._record.slots.get(run, ZERO)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        links = (event for event in self._record.events if isinstance(event, LinkEvent))
        return next((event for event in links if (event.link.run, event.link.round) == (run, round_)), None)

    def check_lead(self) -> None:
        _require(self._sender == self._record.aggregator, "the sender is not the aggregator")

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        found = self.find(link.run, link.round)
        if found is None:
            found = self._append(link, previous_hash)
        _require((found.link, found.previous_hash) == (link, previous_hash), "another link has this round")
        return Seal(found.round_hash, found.transaction)

    def _append(self, link: RoundLink, previous_hash: bytes) -> LinkEvent:
        record = self._record
        _require(self._sender == record.aggregator, "the sender is not the aggregator")
        _require(link.run != ZERO and link.round > 0, "run or round is zero")
        changes = link.accepted != 0 or link.model_digest != link.base_model
        _require(link.kind is LinkKind.SEALED or not changes, "the model changed")
        needed = ZERO if link.round == 1 else head_slot(link.round - 1, previous_hash, closed=False)
        _require(self.head_slot(link.run) == needed, "the link does not follow the head")
        _require(link.round > 1 or previous_hash == ZERO, "the first link follows nothing")
        at, identity = record.next_time(), record.identity
        context = LinkContext(identity.rounds, identity.federation, previous_hash, record.state.head)
        hash_ = round_hash(link, context)
        record.slots[link.run] = head_slot(link.round, hash_, closed=link.kind is LinkKind.CLOSED)
        event = LinkEvent(link, hash_, previous_hash, at, record.transact(at))
        record.events.append(event)
        return event


class MemoryRegistry:
    """The Registry port as one sender."""

    def __init__(self, record: MemoryRecord, sender: bytes) -> None:
        self._record = record
        self._sender = sender

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        _require(self._sender == self._record.operator, "the sender is not the operator")
        return self._append(AddOrganisation(organisation, admin, 0), b"")

    def submit(self, message: RegistryMessage, signature: bytes) -> bytes:
        _require(not isinstance(message, AddOrganisation), "only the operator adds organisations")
        if isinstance(message, ConsentGrant):
            _require(message.federation == self._record.identity.federation, "foreign federation")
        with _refused():
            is_signed = check_authority(self._record.state, self._record.identity.registry, message, signature)
            admin = self._record.state.authority(message)
        _require(is_signed or self._sender == admin, "not authorised by the admin")
        return self._append(message, signature)

    def nonce(self, organisation: bytes) -> int:
        return self._record.state.nonces.get(organisation, 0) + 1

    def _append(self, message: RegistryMessage, signature: bytes) -> bytes:
        at = self._record.next_time()
        with _refused():
            self._record.state.apply(message, at)
        transaction = self._record.transact(at)
        self._record.events.append(RegistryEvent(message, signature, at, transaction))
        return transaction


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise RejectedTransactionError(f"refused: {rule}")


@contextmanager
def _refused() -> Iterator[None]:
    try:
        yield
    except IntegrityError as error:
        raise RejectedTransactionError(f"refused: {error}") from error
