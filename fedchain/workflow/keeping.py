"""What of a store the record needs, and until when: the marks that scrubbing and garbage collection go by.

Everything that a ledger's link, a run's journal or a vault leads to is marked. Only what nothing marks may go, and what
is marked by nothing but rounds of closed runs, as a kind of artifact to which the policy gives an end. Where a
document that could name others cannot be read, nothing may.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fedchain.core import document
from fedchain.core.cid import DAG_PB, RAW, Cid
from fedchain.core.errors import FedchainError, IntegrityError
from fedchain.core.manifest import RoundManifest
from fedchain.core.record import LinkKind
from fedchain.core.retention import HoldEvent, Kind, Removal, RetentionPolicy, Why, cids_in
from fedchain.ports.journal import Entry
from fedchain.ports.ledger import LinkEvent
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.run_state import Decided, Finished, Planned, body_of


@dataclass(frozen=True, slots=True)
class Mark:
    """What an artifact is to a round that ended at second `at`; round 0 is something that never ends."""

    kind: Kind
    run: bytes
    round: int
    at: int

    @property
    def words(self) -> str:
        """As it is shown."""
        return f"{self.kind} of round {self.round}" if self.round else str(self.kind)


@dataclass(frozen=True, slots=True)
class Held:
    """A run up to a round, all of which is kept whatever the policy says."""

    run: bytes
    round: int


@dataclass(frozen=True, slots=True)
class Anchors:
    """What a walk starts from: links, journals by run id, and CIDs' digests that a vault or a ballot names."""

    links: Sequence[LinkEvent]
    journals: Mapping[bytes, Sequence[Entry]]
    digests: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Terms:
    """Until when things are kept: the policy, what is held, and the time."""

    policy: RetentionPolicy
    held: Sequence[Held]
    now: int

    def keep(self, mark: Mark) -> bool:
        """Tell whether a mark still stands."""
        end = self.policy.ends(mark.kind, mark.at) if mark.round else None
        if end is None or self.now < end:
            return True
        return any(each.run == mark.run and mark.round <= each.round for each in self.held)


@dataclass(slots=True)
class Marks:
    """Every artifact that is named, by its CID with what names it, or by its digest alone.

    `unread` are the documents that could not be read.
    """

    digests: frozenset[bytes] = frozenset()
    of: dict[Cid, set[Mark]] = field(default_factory=dict[Cid, set[Mark]])
    unread: dict[Cid, FedchainError] = field(default_factory=dict[Cid, FedchainError])

    def add(self, cid: Cid, mark: Mark) -> None:
        """Mark an artifact."""
        self.of.setdefault(cid, set()).add(mark)

    def kept(self, cid: Cid, terms: Terms) -> bool:
        """Tell whether an artifact must stay."""
        return cid.digest in self.digests or any(terms.keep(each) for each in self.of.get(cid, ()))

    def why_removed(self, cid: Cid, terms: Terms) -> Why | None:
        """Return why an artifact may go, None if it must stay."""
        if self.kept(cid, terms):
            return None
        return Why.EXPIRED if cid in self.of else Why.UNNAMED

    def require_complete(self) -> None:
        """Refuse to go on where a document that could name artifacts was not read.

        Raises:
            IntegrityError: naming the first.
        """
        for cid, error in self.unread.items():
            raise IntegrityError(
                f"nothing is removed: what {cid} names cannot be told", got=error, remedy="repair it, then repeat"
            ) from error


def marks_of(store: ArtifactStore, anchors: Anchors) -> Marks:
    """Walk from the anchors to every artifact that they lead to; `store` gives documents in plain."""
    closed = {each.link.run for each in anchors.links if each.link.kind is LinkKind.CLOSED}
    walk = _Walk(store, closed, Marks(anchors.digests))
    for event in anchors.links:
        walk.visit_round(_existing(store, event.link.manifest_digest))
    for run, entries in anchors.journals.items():
        walk.visit_journal(run, entries)
    return walk.marks


_FOR_EVER: Final = Mark(Kind.RECORD, b"", 0, 0)


@dataclass(slots=True)
class _Walk:
    store: ArtifactStore
    closed: set[bytes]
    marks: Marks
    _seen: set[Cid] = field(default_factory=set[Cid])

    def visit_round(self, cid: Cid) -> None:
        """Mark a round's manifest and all that it names, each as what it is to the round."""
        data = self._read(cid)
        if data is None:
            return
        try:
            manifest = document.from_bytes(RoundManifest, data)
        except FedchainError as error:
            self.marks.unread[cid] = error
            return
        round_ = manifest.round if manifest.run in self.closed else 0
        kinds = {Cid.parse(each.payload_cid): Kind.PAYLOAD for each in manifest.accepted}
        kinds |= {Cid.parse(each.evidence_cid): Kind.REJECTED for each in manifest.rejected}
        kinds |= {Cid.parse(each.cid): Kind.MODEL for each in (manifest.base_model, manifest.model)}
        for each in cids_in(data):
            self.marks.add(each, Mark(kinds.get(each, Kind.RECORD), manifest.run, round_, manifest.closed_at))
        self.visit_plan(Cid.parse(manifest.run_manifest))

    def visit_plan(self, cid: Cid) -> None:
        """Mark a run's manifest and all that it names."""
        data = self._read(cid)
        for each in () if data is None else cids_in(data):
            self.marks.add(each, _FOR_EVER)

    def visit_journal(self, run: bytes, entries: Sequence[Entry]) -> None:
        """Mark what a journal names: of a finished run what no round names, else everything, without an end."""
        bodies = [body_of(each) for each in entries]
        for each in bodies:
            match each:
                case Planned():
                    self.visit_plan(Cid.parse(each.manifest_cid))
                case Decided():
                    self.visit_round(Cid.parse(each.manifest_cid))
                case _:
                    pass
        is_finished = run in self.closed and any(isinstance(each, Finished) for each in bodies)
        for entry in entries:
            for cid in cids_in(entry.body):
                if not (is_finished and cid in self.marks.of):
                    self.marks.add(cid, _FOR_EVER)

    def _read(self, cid: Cid) -> bytes | None:
        """Mark a document and return it; None where it was read before, or cannot be."""
        self.marks.add(cid, _FOR_EVER)
        if cid in self._seen:
            return None
        self._seen.add(cid)
        try:
            data = self.store.get(cid)
            list(cids_in(data))
        except FedchainError as error:
            self.marks.unread[cid] = error
            return None
        return data


def _existing(store: ArtifactStore, digest: bytes) -> Cid:
    """Return the CID of a document that a ledger knows by its digest alone."""
    return next((cid for codec in (RAW, DAG_PB) if store.has(cid := Cid(codec, digest))), Cid(RAW, digest))


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection removed, or would have; `is_swept` unless a put was under way."""

    removed: tuple[Removal, ...]
    kept: int
    is_swept: bool


@dataclass(frozen=True, slots=True)
class StoreFlaw:
    """Something that is wrong in a store: what, where, what the record needs it for."""

    flaw: str
    where: str
    detail: str
    needed_for: tuple[str, ...]
    is_fault: bool


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """How full a store is, in bytes; `quota` is None where there is none."""

    artifacts: int
    bytes: int
    quota: int | None
    free_on_disk: int


@dataclass(frozen=True, slots=True)
class HeldModel:
    """A model whose evidence is or was held: the run and round that made it, and the decisions, oldest first."""

    model: str
    run: str
    round: int
    events: tuple[HoldEvent, ...]
