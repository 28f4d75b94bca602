"""The registry of models: which versions may be used, who approved them, and until when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fedchain.core.eip712 import Domain
from fedchain.core.messages import CancelApprovals, MoveVersion, RegisterReviewer, RevokeReviewer
from fedchain.core.releases import Behind, Decision, LinkRecord, Version, VersionState, Vote


@dataclass(frozen=True, slots=True)
class ReleaseTerms:
    """What a registry of models is made with and never changes.

    `quorum` is the fewest reviewers, each of another organisation; bit r of `required_roles` is set for each role r
    that must be among them. `answer_window_s` is the time for an answer to a challenge of the rounds.
    """

    rounds_contract: bytes
    answer_window_s: int
    quorum: int
    required_roles: int


@dataclass(frozen=True, slots=True)
class ReleaseIdentity:
    """One registry of models, in whose domain its messages are signed."""

    chain_id: int
    contract: bytes
    terms: ReleaseTerms

    @property
    def domain(self) -> Domain:
        """The EIP-712 domain of its messages."""
        return Domain(self.chain_id, self.contract)


@dataclass(frozen=True, slots=True)
class RecordedVersion:
    """A version as it was submitted at a block time (seconds)."""

    version_id: bytes
    version: Version
    at: int


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """Where a version stands.

    Votes signed before the second `review_since` count no more; `approved_until` is the earliest end of the approvals;
    `moves` counts how often its organisation moved it.
    """

    state: VersionState
    review_since: int
    approved_until: int
    moves: int
    organisation: bytes


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A reviewer until before `valid_until` (seconds); its votes with a nonce below `least_nonce` were taken back."""

    organisation: bytes
    role: int
    valid_until: int
    least_nonce: int


@dataclass(frozen=True, slots=True)
class VersionSubmitted:
    """A version was added; the signature is its organisation's, empty where that sent the transaction itself."""

    version_id: bytes
    version: Version
    signature: bytes


@dataclass(frozen=True, slots=True)
class VersionMoved:
    """Its organisation moved a version; an empty signature as above."""

    version_id: bytes
    before: VersionState
    after: VersionState
    signature: bytes


@dataclass(frozen=True, slots=True)
class VersionDecided:
    """Reviewers decided; `votes` is None where the transaction does not show them (a contract relayed them)."""

    version_id: bytes
    decision: Decision
    after: VersionState
    approved_until: int
    votes: tuple[Vote, ...] | None


@dataclass(frozen=True, slots=True)
class VersionTainted:
    """A version descends from `ancestor`, which was trained on a withdrawn dataset."""

    version_id: bytes
    dataset: bytes
    ancestor: bytes


@dataclass(frozen=True, slots=True)
class VersionDisposed:
    """Reviewers decided about a withdrawn dataset; `votes` as in VersionDecided."""

    version_id: bytes
    dataset: bytes
    votes: tuple[Vote, ...] | None


@dataclass(frozen=True, slots=True)
class ReviewerChanged:
    """An organisation named or dismissed its reviewer, or that took back votes; an empty signature as above."""

    message: RegisterReviewer | RevokeReviewer | CancelApprovals
    signature: bytes


ReleaseStep: TypeAlias = (
    VersionSubmitted | VersionMoved | VersionDecided | VersionTainted | VersionDisposed | ReviewerChanged
)


@dataclass(frozen=True, slots=True)
class ReleaseEvent:
    """A step as recorded at a block time (seconds)."""

    step: ReleaseStep
    at: int
    transaction: bytes


class ModelRegistry(Protocol):
    """Reads are of confirmed state; writes return the transaction's hash when confirmed.

    Every write raises RejectedTransactionError where the registry's rules refuse it, and UnreachableError where the
    ledger does not answer. Authority is in the signatures, so anyone may relay.
    """

    def identity(self) -> ReleaseIdentity:
        """Return chain, address and terms."""
        ...

    def events(self) -> Sequence[ReleaseEvent]:
        """Return every step that was ever recorded, in ledger order."""
        ...

    def versions(self) -> Sequence[RecordedVersion]:
        """Return every version that was ever submitted, oldest first."""
        ...

    def status(self, version_id: bytes) -> VersionStatus:
        """Return where a version stands; its state is unknown where it was never submitted."""
        ...

    def is_released(self, version_id: bytes) -> bool:
        """Tell whether a version is approved or deployed, and its approvals have not expired."""
        ...

    def reviewer(self, address: bytes) -> Reviewer | None:
        """Return a reviewer, also one whose time is over, or None."""
        ...

    def reviewer_nonce(self, organisation: bytes) -> int:
        """Return the next nonce of an organisation for its reviewers."""
        ...

    def is_disposed(self, version_id: bytes, dataset: bytes) -> bool:
        """Tell whether a disposition about a withdrawn dataset was recorded for a version."""
        ...

    def submit(self, version: Version, records: Sequence[LinkRecord], signature: bytes) -> bytes:
        """Add a version as a draft; `records` prove the link that sealed the model, newest last."""
        ...

    def move(self, message: MoveVersion, signature: bytes) -> bytes:
        """Move a version, by its organisation."""
        ...

    def register_reviewer(self, message: RegisterReviewer, signature: bytes) -> bytes:
        """Add a reviewer, by its organisation."""
        ...

    def revoke_reviewer(self, message: RevokeReviewer, signature: bytes) -> bytes:
        """End a reviewer's time now, by its organisation."""
        ...

    def cancel_approvals(self, message: CancelApprovals, signature: bytes) -> bytes:
        """Take back the votes of a reviewer that were not counted yet, by the reviewer."""
        ...

    def decide(self, version_id: bytes, decision: Decision, votes: Sequence[Vote]) -> bytes:
        """Let reviewers decide: one of them a suspension, a quorum the others."""
        ...

    def taint(self, shown: Behind) -> bytes:
        """Show that the first version descends from the last, which was trained on a withdrawn dataset; anyone may."""
        ...

    def dispose(self, shown: Behind, votes: Sequence[Vote]) -> bytes:
        """Record what a quorum decided about a withdrawn dataset: the first version is a candidate again."""
        ...
