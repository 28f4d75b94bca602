"""What the entries of a log add up to: the registry, the runs' heads, the tree. The rules are those of the contracts.

The same rules decide when an entry is written and when it is read, so a log that breaks one is damaged or forged.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fedchain.adapters.log.entries import LOG_FORMAT, Body, Entry, LogLink, LogTerms
from fedchain.core.digest import ZERO, Digest
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.core.history_tree import HistoryTree, entry_hash
from fedchain.core.messages import AddOrganisation, ConsentGrant, RegistryMessage, TreeHead
from fedchain.core.record import LinkContext, LinkKind, head_slot, round_hash
from fedchain.core.registry import RegistryState, check_authority
from fedchain.core.signatures import recover
from fedchain.ports.ledger import LedgerEvent, LinkEvent, RegistryEvent

CHAIN_ID = 0
"""Of a ledger that is no chain."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A tree head with the log key's signature."""

    head: TreeHead
    signature: bytes


@dataclass(frozen=True, slots=True)
class Change:
    """What one more entry changes: `registry` is None where it stays; the first entry has no event."""

    leaf: Digest
    tree: HistoryTree
    at: int
    event: LedgerEvent | None
    registry: RegistryState | None
    terms: LogTerms

    @property
    def head(self) -> TreeHead:
        """The tree head after it."""
        return TreeHead(self.tree.size, self.tree.root(), self.at)


@dataclass(slots=True)
class LogState:
    """The log of one key after the entries taken so far; `links` are found by run and round."""

    key: bytes
    terms: LogTerms | None = None
    tree: HistoryTree = field(default_factory=HistoryTree)
    heads: list[Signed] = field(default_factory=list[Signed])
    leaves: list[Digest] = field(default_factory=list[Digest])
    events: list[LedgerEvent] = field(default_factory=list[LedgerEvent])
    registry: RegistryState = field(default_factory=RegistryState)
    slots: dict[bytes, Digest] = field(default_factory=dict[bytes, Digest])
    links: dict[tuple[bytes, int], LinkEvent] = field(default_factory=dict[tuple[bytes, int], LinkEvent])

    @property
    def domain(self) -> Domain:
        """The domain of every signature that concerns this log."""
        return Domain(CHAIN_ID, self.key)

    @property
    def last_at(self) -> int:
        """The time of the last entry; 0 in an empty log."""
        return self.heads[-1].head.at if self.heads else 0

    def change(self, entry: Entry) -> Change:
        """Return what the entry would change, by the rules.

        Raises:
            IntegrityError: if a rule is against it.
            FormatError: if a value has no room in its type.
        """
        _require(entry.index == self.tree.size, f"the place {self.tree.size}")
        _require(entry.at > self.last_at, "a later time than the entry before")
        writer = _signer(signing_digest(self.domain, entry.statement(self.tree.root())), entry.writer_signature)
        leaf = entry_hash(entry.to_bytes())
        tree = HistoryTree(self.tree.size, list(self.tree.peaks))
        tree.append(leaf)
        terms = self.terms
        match entry.body:
            case LogTerms() as first:
                _require(terms is None, "the terms once, as the first entry")
                self._check_terms(first, writer)
                return Change(leaf, tree, entry.at, None, None, first)
            case _ if terms is None:
                raise IntegrityError("log entry", expected="the terms first", got=type(entry.body).__name__)
            case LogLink() as link:
                _require(not entry.authority, "no second signature under a link")
                return Change(leaf, tree, entry.at, self._sealed(link, entry.at, leaf, writer, terms), None, terms)
            case message:
                registry = self._acted(message, entry, writer, terms)
                action = RegistryEvent(message, entry.authority, entry.at, leaf)
                return Change(leaf, tree, entry.at, action, registry, terms)

    def take(self, change: Change, signature: bytes) -> None:
        """Make a change; `signature` is the log key's over the tree head after it."""
        self.terms, self.tree = change.terms, change.tree
        if change.registry is not None:
            self.registry = change.registry
        self.leaves.append(change.leaf)
        self.heads.append(Signed(change.head, signature))
        if change.event is not None:
            self.events.append(change.event)
        if isinstance(change.event, LinkEvent):
            link, closed = change.event.link, change.event.link.kind is LinkKind.CLOSED
            self.links[link.run, link.round] = change.event
            self.slots[link.run] = head_slot(link.round, change.event.round_hash, closed=closed)

    def _check_terms(self, terms: LogTerms, writer: bytes) -> None:
        _require(terms.format == LOG_FORMAT, f"the format {LOG_FORMAT}")
        _require(writer == self.key, "the terms as the log's own key signs them")
        _require(any(terms.federation) and any(terms.operator) and any(terms.aggregator), "no zero in the terms")

    def _sealed(self, body: LogLink, at: int, leaf: Digest, writer: bytes, terms: LogTerms) -> LinkEvent:
        link, previous = body.link, body.previous_hash
        _require(writer == terms.aggregator, "the aggregator as the writer of a link")
        _require(link.run != ZERO and link.round > 0, "a run and a round that are not zero")
        changes = link.accepted != 0 or link.model_digest != link.base_model
        _require(link.kind is LinkKind.SEALED or not changes, "no change of the model but by a sealed round")
        needed = ZERO if link.round == 1 else head_slot(link.round - 1, previous, closed=False)
        _require(self.slots.get(link.run, ZERO) == needed, "a link that follows the head of its run")
        _require(link.round > 1 or previous == ZERO, "a first link that follows nothing")
        hash_ = round_hash(link, LinkContext(self.domain, terms.federation, previous, self.registry.head))
        return LinkEvent(link, hash_, previous, at, leaf)

    def _acted(self, message: RegistryMessage, entry: Entry, writer: bytes, terms: LogTerms) -> RegistryState:
        if isinstance(message, AddOrganisation):
            _require(writer == terms.operator and not entry.authority, "the operator as who adds organisations")
        else:
            is_signed = check_authority(self.registry, self.domain, message, entry.authority)
            _require(is_signed or writer == self.registry.authority(message), "the admin's own word")
        if isinstance(message, ConsentGrant):
            _require(message.federation == terms.federation, "a grant for this federation")
        after = _copied(self.registry)
        after.apply(message, entry.at)
        return after


def written(body: Body, *, index: int, at: int, authority: bytes = b"") -> Entry:
    """Return an entry that its writer has still to sign."""
    return Entry(index, at, body, authority, bytes(65))


def check_head(domain: Domain, signed: Signed) -> None:
    """Check that the log's key signed a tree head.

    Raises:
        IntegrityError: if it did not.
    """
    if _signer(signing_digest(domain, signed.head), signed.signature) != domain.contract:
        raise IntegrityError("tree head", expected=f"a signature of 0x{domain.contract.hex()}", got="another key's")


def _copied(state: RegistryState) -> RegistryState:
    """Return a state that can change by itself; what it holds is immutable."""
    return replace(
        state,
        organisations=dict(state.organisations),
        nonces=dict(state.nonces),
        devices=dict(state.devices),
        datasets=dict(state.datasets),
        consents=dict(state.consents),
    )


def _signer(digest: Digest, signature: bytes) -> bytes:
    try:
        return recover(digest, signature)
    except FormatError as error:
        raise IntegrityError("log signature", expected="one of secp256k1", got=error) from error


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise IntegrityError("log entry", expected=rule, got="the contrary")
