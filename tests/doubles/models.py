"""The registry of models in memory, with the rules of the contract; who may send is in the signatures alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from fedchain.core.digest import ZERO
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import FormatError, RejectedTransactionError
from fedchain.core.merkle import proves
from fedchain.core.messages import (
    Approval,
    CancelApprovals,
    Disposition,
    MoveVersion,
    RegisterReviewer,
    RevokeReviewer,
    SubmitVersion,
)
from fedchain.core.releases import (
    Behind,
    Decision,
    EdgeKind,
    LinkRecord,
    Version,
    VersionState,
    Vote,
    dataset_leaf,
    version_id,
)
from fedchain.core.signatures import recover
from fedchain.ports.ledger import LinkEvent
from fedchain.ports.models import (
    RecordedVersion,
    ReleaseEvent,
    ReleaseIdentity,
    ReleaseStep,
    Reviewer,
    ReviewerChanged,
    VersionDecided,
    VersionDisposed,
    VersionMoved,
    VersionStatus,
    VersionSubmitted,
    VersionTainted,
)
from tests.doubles.ledger import MemoryRecord

S = VersionState
MOVES: dict[VersionState, set[VersionState]] = {
    S.DRAFT: {S.CANDIDATE},
    S.CANDIDATE: {S.DRAFT, S.IN_REVIEW},
    S.IN_REVIEW: {S.CANDIDATE},
    S.DEPLOYED: {S.APPROVED},
    S.SUSPENDED: {S.APPROVED, S.DEPLOYED},
    S.SUPERSEDED: {S.APPROVED, S.DEPLOYED},
    S.REVOKED: set(S) - {S.UNKNOWN, S.REVOKED},
}
"""From where each state is reached by a move."""
DECIDED = {
    Decision.APPROVE: ({S.IN_REVIEW, S.SUSPENDED}, S.APPROVED),
    Decision.SEND_BACK: ({S.IN_REVIEW}, S.CANDIDATE),
    Decision.SUSPEND: ({S.APPROVED, S.DEPLOYED}, S.SUSPENDED),
    Decision.REVOKE: (set(S) - {S.UNKNOWN, S.REVOKED}, S.REVOKED),
}
Body = Callable[[Vote], TypedMessage]


@dataclass(slots=True)
class MemoryModels:
    """A registry of models beside a record in memory."""

    which: ReleaseIdentity
    record: MemoryRecord
    recorded: list[RecordedVersion] = field(default_factory=list[RecordedVersion])
    states: dict[bytes, VersionStatus] = field(default_factory=dict[bytes, VersionStatus])
    reviewers: dict[bytes, Reviewer] = field(default_factory=dict[bytes, Reviewer])
    nonces: dict[bytes, int] = field(default_factory=dict[bytes, int])
    disposed: set[tuple[bytes, bytes]] = field(default_factory=set[tuple[bytes, bytes]])
    log: list[ReleaseEvent] = field(default_factory=list[ReleaseEvent])

    def identity(self) -> ReleaseIdentity:
        return self.which

    def events(self) -> Sequence[ReleaseEvent]:
        return list(self.log)

    def versions(self) -> Sequence[RecordedVersion]:
        return list(self.recorded)

    def status(self, version_id: bytes) -> VersionStatus:
        return self.states.get(version_id, VersionStatus(S.UNKNOWN, 0, 0, 0, ZERO))

    def is_released(self, version_id: bytes) -> bool:
        status = self.status(version_id)
        return status.state in (S.APPROVED, S.DEPLOYED) and self.record.clock.now() < status.approved_until

    def reviewer(self, address: bytes) -> Reviewer | None:
        return self.reviewers.get(address)

    def reviewer_nonce(self, organisation: bytes) -> int:
        return self.nonces.get(organisation, 0) + 1

    def is_disposed(self, version_id: bytes, dataset: bytes) -> bool:
        return (version_id, dataset) in self.disposed

    def submit(self, version: Version, records: Sequence[LinkRecord], signature: bytes) -> bytes:
        name, at = version_id(self.identity().domain, version), self.record.next_time()
        _require(name not in self.states, "the version exists")
        self._require_origin(version, records)
        for edge in version.parents:
            _require(edge.kind is EdgeKind.IMPORT or edge.parent in self.states, "an unknown parent")
        self._authorise(version.organisation, SubmitVersion(name), signature)
        is_tainted = any(self.status(edge.parent).state is S.TAINTED for edge in version.parents)
        self.states[name] = VersionStatus(S.TAINTED if is_tainted else S.DRAFT, at, 0, 0, version.organisation)
        self.recorded.append(RecordedVersion(name, version, at))
        return self._logged(VersionSubmitted(name, version, signature), at)

    def move(self, message: MoveVersion, signature: bytes) -> bytes:
        status, at, state = self._known(message.version_id), self.record.next_time(), S(message.state)
        _require(status.state in MOVES.get(state, set()), "a wrong move")
        _require(state is not S.DEPLOYED or at < status.approved_until, "the approval expired")
        _require(message.nonce == status.moves + 1, "a wrong nonce")
        self._authorise(status.organisation, message, signature)
        since = max(status.review_since, at) if state in (S.IN_REVIEW, S.SUSPENDED) else status.review_since
        self.states[message.version_id] = replace(status, state=state, moves=message.nonce, review_since=since)
        return self._logged(VersionMoved(message.version_id, status.state, state, signature), at)

    def register_reviewer(self, message: RegisterReviewer, signature: bytes) -> bytes:
        _require(any(message.reviewer), "no reviewer")
        _require(message.reviewer not in self.reviewers, "the reviewer exists")
        self._use(message.organisation, message.nonce, message, signature)
        self.reviewers[message.reviewer] = Reviewer(message.organisation, message.role, message.valid_until, 0)
        return self._logged(ReviewerChanged(message, signature), self.record.next_time())

    def revoke_reviewer(self, message: RevokeReviewer, signature: bytes) -> bytes:
        found, at = self.reviewers.get(message.reviewer), self.record.next_time()
        if found is None or at >= found.valid_until:
            raise RejectedTransactionError("refused: no reviewer now")
        self._use(found.organisation, message.nonce, message, signature)
        self.reviewers[message.reviewer] = replace(found, valid_until=at)
        return self._logged(ReviewerChanged(message, signature), at)

    def cancel_approvals(self, message: CancelApprovals, signature: bytes) -> bytes:
        found = self.reviewers.get(message.reviewer)
        if found is None or message.least_nonce <= found.least_nonce:
            raise RejectedTransactionError("refused: no reviewer, or nothing to take back")
        self._check(message.reviewer, message, signature)
        self.reviewers[message.reviewer] = replace(found, least_nonce=message.least_nonce)
        return self._logged(ReviewerChanged(message, signature), self.record.next_time())

    def decide(self, version_id: bytes, decision: Decision, votes: Sequence[Vote]) -> bytes:
        status, at = self._known(version_id), self.record.next_time()
        before, after = DECIDED[decision]
        _require(status.state in before, "a wrong state")

        def body(vote: Vote) -> Approval:
            return Approval(version_id, int(decision), *_signed(vote))

        if decision is Decision.SUSPEND:
            _require(len(votes) == 1 and votes[0].signed_at >= status.review_since, "one vote of this review")
            self._checked(votes[0], body(votes[0]), at)
        else:
            self._counted(votes, status, body, at)
        if decision is Decision.APPROVE:
            status = replace(status, approved_until=min(each.valid_until for each in votes))
        else:
            status = replace(status, review_since=at + 1)
        self.states[version_id] = replace(status, state=after)
        step = VersionDecided(version_id, decision, after, status.approved_until, tuple(votes))
        return self._logged(step, at)

    def taint(self, shown: Behind) -> bytes:
        name, at = self._first(shown), self.record.next_time()
        status = self._known(name)
        _require(status.state not in (S.REVOKED, S.TAINTED), "a wrong state")
        _require((name, shown.dataset) not in self.disposed, "disposed of")
        self._require_behind(shown)
        consent = self.record.state.consents.get(shown.dataset)
        withdrawn_at = None if consent is None else consent.withdrawn_at
        _require(withdrawn_at is not None and withdrawn_at <= at, "not withdrawn")
        self.states[name] = replace(status, state=S.TAINTED, review_since=at + 1, approved_until=0)
        ancestor = version_id(self.identity().domain, shown.path[-1])
        return self._logged(VersionTainted(name, shown.dataset, ancestor), at)

    def dispose(self, shown: Behind, votes: Sequence[Vote]) -> bytes:
        name, dataset, at = self._first(shown), shown.dataset, self.record.next_time()
        status = self._known(name)
        _require(status.state is S.TAINTED, "a wrong state")
        self._require_behind(shown)
        self._counted(votes, status, lambda vote: Disposition(name, dataset, *_signed(vote)), at)
        self.states[name] = replace(status, state=S.CANDIDATE, review_since=at + 1)
        self.disposed.add((name, dataset))
        return self._logged(VersionDisposed(name, dataset, tuple(votes)), at)

    def _logged(self, step: ReleaseStep, at: int) -> bytes:
        transaction = self.record.transact(at)
        self.log.append(ReleaseEvent(step, at, transaction))
        return transaction

    def _first(self, shown: Behind) -> bytes:
        _require(len(shown.path) > 0, "no path")
        return version_id(self.identity().domain, shown.path[0])

    def _require_behind(self, shown: Behind) -> None:
        names = [version_id(self.identity().domain, each) for each in shown.path]
        for child, parent in zip(shown.path, names[1:], strict=False):
            _require(parent in [edge.parent for edge in child.parents], "a broken path")
        _require(proves(shown.path[-1].datasets_root, dataset_leaf(shown.dataset), shown.proof), "a wrong proof")

    def _counted(self, votes: Sequence[Vote], status: VersionStatus, body: Body, at: int) -> None:
        terms, organisations = self.identity().terms, set[bytes]()
        _require(terms.quorum <= len(votes) <= 16, "too few votes, or too many")
        for vote in votes:
            organisation = self._checked(vote, body(vote), at)
            _require(organisation != status.organisation, "its own model")
            _require(vote.signed_at >= status.review_since, "a vote of another review")
            _require(organisation not in organisations, "an organisation voted twice")
            organisations.add(organisation)
        held = {vote.role for vote in votes}
        _require(all(role in held for role in range(256) if terms.required_roles >> role & 1), "a role is missing")

    def _checked(self, vote: Vote, message: TypedMessage, at: int) -> bytes:
        reviewer = self.reviewers.get(vote.signer)
        if reviewer is None or reviewer.role != vote.role or at >= reviewer.valid_until:
            raise RejectedTransactionError("refused: no reviewer in this role")
        _require(vote.signed_at <= at < vote.valid_until, "a vote out of its time")
        _require(vote.nonce >= reviewer.least_nonce, "a vote that was taken back")
        self._check(vote.signer, message, vote.signature)
        return reviewer.organisation

    def _require_origin(self, version: Version, records: Sequence[LinkRecord]) -> None:
        _require(any(version.model), "no model")
        if version.round_hash == ZERO:
            _require(len(version.parents) > 0, "no parents")
            return
        links = {each.round_hash for each in self.record.events if isinstance(each, LinkEvent)}
        _require(len(records) > 0 and version.round_hash in links, "no such link")
        _require(records[0].link.model_digest == version.model, "another model")

    def _known(self, name: bytes) -> VersionStatus:
        _require(name in self.states, "an unknown version")
        return self.states[name]

    def _use(self, organisation: bytes, nonce: int, message: TypedMessage, signature: bytes) -> None:
        _require(nonce == self.reviewer_nonce(organisation), "a wrong nonce")
        self._authorise(organisation, message, signature)
        self.nonces[organisation] = nonce

    def _authorise(self, organisation: bytes, message: TypedMessage, signature: bytes) -> None:
        admin = self.record.state.organisations.get(organisation)
        if admin is None:
            raise RejectedTransactionError("refused: an unknown organisation")
        self._check(admin, message, signature)

    def _check(self, signer: bytes, message: TypedMessage, signature: bytes) -> None:
        try:
            recovered = recover(signing_digest(self.identity().domain, message), signature)
        except FormatError as error:
            raise RejectedTransactionError("refused: no signature", got=error) from error
        _require(recovered == signer, "another's signature")


def _signed(vote: Vote) -> tuple[int, bytes, bytes, int, int, int]:
    return vote.role, vote.meaning, vote.evidence, vote.signed_at, vote.valid_until, vote.nonce


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise RejectedTransactionError(f"refused: {rule}")
