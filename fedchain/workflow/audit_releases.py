"""The releases, replayed: each step of each version must be what the registry of models allows, and votes are signed.

The registry's word is not believed. Its states are computed from its events, every signature is checked against the
organisations of the ledger, and the datasets behind a version against the audited rounds. No pinned head covers the
registry of models: that no later step was left out is the word of the chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedchain.core.digest import hex32
from fedchain.core.lineage import ClaimLevel, Release, Ruling
from fedchain.core.messages import CancelApprovals, MoveVersion, RegisterReviewer, RevokeReviewer, SubmitVersion
from fedchain.core.releases import (
    DECIDED_FROM,
    DECIDED_TO,
    DOES,
    LIVE,
    MOVED_FROM,
    Decision,
    EdgeKind,
    Version,
    VersionState,
    Vote,
    datasets_tree,
    version_id,
)
from fedchain.ports.models import (
    ModelRegistry,
    ReleaseEvent,
    ReleaseIdentity,
    Reviewer,
    ReviewerChanged,
    VersionDecided,
    VersionDisposed,
    VersionMoved,
    VersionStatus,
    VersionSubmitted,
    VersionTainted,
)
from fedchain.workflow.audit_report import Fault, Report
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.audit_votes import Admins, Election, check_signature, checked_vote, refuse
from fedchain.workflow.taint import datasets_behind

_REVIEW_AGAIN: Final = (VersionState.IN_REVIEW, VersionState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Followed:
    """A version, where the replay has it, since when, and what reviewers decided about it."""

    version: Version
    status: VersionStatus
    since: int
    rulings: tuple[Ruling, ...] = ()


def audit_releases(
    registry: ModelRegistry, roles: Mapping[int, str], rounds: Sequence[AuditedRound], report: Report
) -> tuple[Release, ...]:
    """Replay all steps and return every version, in the order of submission.

    What contradicts the states that are read after the events is a fault only if no step came in between.
    """
    events = registry.events()
    while True:
        attempt = Report()
        replay = ReleaseReplay(registry.identity(), roles, rounds)
        for event in events:
            _audit_step(replay, event, attempt)
        _audit_states(registry, replay, attempt)
        earlier, events = events, registry.events() if attempt.findings else events
        if events == earlier:
            report.include(attempt)
            return tuple(_release(name, each) for name, each in replay.versions.items())


def _audit_step(replay: ReleaseReplay, event: ReleaseEvent, report: Report) -> None:
    try:
        votes = replay.apply(event)
    except Fault as fault:
        report.fails(fault.claim, run=b"", round_=0, expected=fault.expected, got=fault.got)
        return
    report.holds("release")
    if votes:
        report.holds("approval", votes)


def _audit_states(registry: ModelRegistry, replay: ReleaseReplay, report: Report) -> None:
    for name, each in replay.versions.items():
        kept, found = registry.status(name), each.status
        same = (kept.state, kept.approved_until, kept.moves, kept.organisation)
        if same != (found.state, found.approved_until, found.moves, found.organisation):
            expected = f"version {hex32(name)} {found.state.words} until {found.approved_until}, {found.moves} moves"
            got = f"{kept.state.words} until {kept.approved_until}, {kept.moves} moves"
            report.fails("release", run=b"", round_=0, expected=expected, got=got)


class ReleaseReplay:
    """The versions and reviewers after the steps so far."""

    def __init__(self, identity: ReleaseIdentity, roles: Mapping[int, str], rounds: Sequence[AuditedRound]) -> None:
        behind = datasets_behind(rounds)
        self.versions: dict[bytes, Followed] = {}
        self._domain = identity.domain
        self._terms = identity.terms
        self._roles = roles
        self._registry = rounds[0].chained.registry
        self._admins = Admins(self._registry)
        self._reviewers: dict[bytes, Reviewer] = {}
        self._nonces: dict[bytes, int] = {}
        self._links = {each.chained.round_hash: each.chained.event.link for each in rounds}
        self._datasets = {name: behind[link.run, link.round] for name, link in self._links.items()}

    def apply(self, event: ReleaseEvent) -> int:
        """Follow a step; return how many votes were checked.

        Raises:
            Fault: if the registry's rules would have refused it, or a signature is not whose it should be.
        """
        match event.step:
            case VersionSubmitted():
                self._submitted(event.step, event.at)
            case VersionMoved():
                self._moved(event.step, event.at)
            case VersionDecided():
                return self._decided(event.step, event)
            case VersionTainted():
                self._tainted(event.step, event.at)
            case VersionDisposed():
                return self._disposed(event.step, event)
            case ReviewerChanged():
                self._reviewer_changed(event.step, event.at)
        return 0

    def _submitted(self, step: VersionSubmitted, at: int) -> None:
        version, name = step.version, step.version_id
        refuse(name != version_id(self._domain, version), "a version under its own id", hex32(name))
        refuse(name in self.versions, "a version that is new", hex32(name))
        link = self._links.get(version.round_hash)
        if any(version.round_hash):
            is_its = link is not None and link.model_digest == version.model
            refuse(not is_its, "the link that sealed the version's model", hex32(version.round_hash))
            root = datasets_tree(self._datasets[version.round_hash]).root
            refuse(
                version.datasets_root != root,
                f"the datasets of the rounds, {hex32(root)}",
                hex32(version.datasets_root),
            )
        else:
            refuse(not version.parents, "a link or parents", "neither")
        unknown = [e.parent for e in version.parents if e.kind is not EdgeKind.IMPORT and e.parent not in self.versions]
        refuse(bool(unknown), "parents that were submitted", ", ".join(hex32(each) for each in unknown))
        parents = [each.parent for each in version.parents if each.parent in self.versions]
        states = [self.versions[each].status.state for each in parents]
        admins = self._admins.at(version.organisation, at)
        check_signature(self._domain, SubmitVersion(name), step.signature, admins)
        state = VersionState.TAINTED if VersionState.TAINTED in states else VersionState.DRAFT
        self.versions[name] = Followed(version, VersionStatus(state, at, 0, 0, version.organisation), at)

    def _moved(self, step: VersionMoved, at: int) -> None:
        followed = self._known(step.version_id)
        status = followed.status
        is_allowed = step.before is status.state and status.state in MOVED_FROM.get(step.after, ())
        refuse(not is_allowed, f"a move from {status.state.words}", f"{step.before.words} to {step.after.words}")
        is_late = step.after is VersionState.DEPLOYED and at >= status.approved_until
        refuse(is_late, f"a deployment before {status.approved_until}", at)
        message = MoveVersion(step.version_id, int(step.after), status.moves + 1)
        check_signature(self._domain, message, step.signature, self._admins.at(status.organisation, at))
        since = max(status.review_since, at) if step.after in _REVIEW_AGAIN else status.review_since
        new = replace(status, state=step.after, moves=status.moves + 1, review_since=since)
        self.versions[step.version_id] = replace(followed, status=new, since=at)

    def _decided(self, step: VersionDecided, event: ReleaseEvent) -> int:
        followed, at = self._known(step.version_id), event.at
        status = followed.status
        is_allowed = status.state in DECIDED_FROM[step.decision] and step.after is DECIDED_TO[step.decision]
        refuse(not is_allowed, f"a decision about what is {status.state.words}", DOES[step.decision])
        election = self._election(step.version_id, step.decision, status, at)
        ruling = self._ruling(DOES[step.decision], event, step.votes, election)
        until = status.approved_until
        if step.decision is Decision.APPROVE:
            until = min((each.valid_until for each in step.votes or ()), default=step.approved_until)
        refuse(until != step.approved_until, f"an approval until {until}", step.approved_until)
        since = status.review_since if step.decision is Decision.APPROVE else at + 1
        new = replace(status, state=step.after, approved_until=until, review_since=since)
        self.versions[step.version_id] = replace(followed, status=new, since=at, rulings=(*followed.rulings, ruling))
        return len(ruling.votes)

    def _tainted(self, step: VersionTainted, at: int) -> None:
        followed = self._known(step.version_id)
        status = followed.status
        is_open = status.state in LIVE and status.state is not VersionState.TAINTED
        refuse(not is_open, "a version that can be tainted", status.state.words)
        self._refuse_stranger(step.version_id, step.dataset)
        consent = self._registry.state(self._registry.recorded_before(at + 1)).consents.get(step.dataset)
        withdrawn_at = None if consent is None else consent.withdrawn_at
        is_withdrawn = withdrawn_at is not None and withdrawn_at <= at
        refuse(not is_withdrawn, "a dataset whose consent was withdrawn", hex32(step.dataset))
        new = replace(status, state=VersionState.TAINTED, review_since=at + 1, approved_until=0)
        self.versions[step.version_id] = replace(followed, status=new, since=at)

    def _disposed(self, step: VersionDisposed, event: ReleaseEvent) -> int:
        followed, at = self._known(step.version_id), event.at
        status = followed.status
        refuse(status.state is not VersionState.TAINTED, "a version that is tainted", status.state.words)
        self._refuse_stranger(step.version_id, step.dataset)
        what = f"let it be reviewed again without consent for dataset {hex32(step.dataset)}"
        election = self._election(step.version_id, step.dataset, status, at)
        ruling = self._ruling(what, event, step.votes, election)
        new = replace(status, state=VersionState.CANDIDATE, review_since=at + 1)
        self.versions[step.version_id] = replace(followed, status=new, since=at, rulings=(*followed.rulings, ruling))
        return len(ruling.votes)

    def _reviewer_changed(self, step: ReviewerChanged, at: int) -> None:
        message = step.message
        if isinstance(message, RegisterReviewer):
            refuse(message.reviewer in self._reviewers, "a reviewer who is new", hex32(message.reviewer))
            self._use(message.organisation, message, step.signature, at)
            self._reviewers[message.reviewer] = Reviewer(message.organisation, message.role, message.valid_until, 0)
            return
        found = self._reviewers.get(message.reviewer)
        if found is None:
            raise Fault("release", "a reviewer of this registry", hex32(message.reviewer))
        if isinstance(message, RevokeReviewer):
            self._use(found.organisation, message, step.signature, at)
            self._reviewers[message.reviewer] = replace(found, valid_until=at)
        else:
            self._cancelled(message, found, step.signature)

    def _cancelled(self, message: CancelApprovals, found: Reviewer, signature: bytes) -> None:
        refuse(message.least_nonce <= found.least_nonce, f"more than nonce {found.least_nonce}", message.least_nonce)
        check_signature(self._domain, message, signature, {message.reviewer})
        self._reviewers[message.reviewer] = replace(found, least_nonce=message.least_nonce)

    def _use(self, organisation: bytes, message: RegisterReviewer | RevokeReviewer, signature: bytes, at: int) -> None:
        expected = self._nonces.get(organisation, 0) + 1
        refuse(message.nonce != expected, f"nonce {expected} of organisation {hex32(organisation)}", message.nonce)
        check_signature(self._domain, message, signature, self._admins.at(organisation, at))
        self._nonces[organisation] = expected

    def _election(self, name: bytes, about: Decision | bytes, status: VersionStatus, at: int) -> Election:
        return Election(self._domain, name, about, status, self._reviewers, self._terms, self._roles, at)

    def _ruling(self, what: str, event: ReleaseEvent, votes: Sequence[Vote] | None, election: Election) -> Ruling:
        if votes is None:
            return Ruling(what, event.at, event.transaction.hex(), ClaimLevel.ANCHORED, ())
        counted = tuple(checked_vote(election, each) for each in votes)
        election.check_quorum(votes)
        return Ruling(what, event.at, event.transaction.hex(), ClaimLevel.SIGNED, counted)

    def _refuse_stranger(self, name: bytes, dataset: bytes) -> None:
        left, seen = [name], set[bytes]()
        for each in left:
            version = self.versions[each].version
            if dataset in self._datasets.get(version.round_hash, frozenset()):
                return
            seen.add(each)
            left += [edge.parent for edge in version.parents if edge.parent in self.versions.keys() - seen]
        raise Fault("release", f"a dataset behind version {hex32(name)}", hex32(dataset))

    def _known(self, name: bytes) -> Followed:
        found = self.versions.get(name)
        if found is None:
            raise Fault("release", "a version that was submitted", hex32(name))
        return found


def _release(name: bytes, followed: Followed) -> Release:
    version, status = followed.version, followed.status
    return Release(
        version=name.hex(),
        model=version.model.hex(),
        round_hash=version.round_hash.hex(),
        organisation=version.organisation.hex(),
        parents=tuple(each.parent.hex() for each in version.parents),
        state=status.state.words,
        since=followed.since,
        approved_until=status.approved_until,
        rulings=followed.rulings,
    )
