"""The replay of releases: an honest one gives the registry's states, and any step that is changed is a finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedchain.core.aggregation import serially
from fedchain.core.lineage import ClaimLevel, Lineage, Verdict
from fedchain.core.messages import CancelApprovals, RegisterReviewer, RevokeReviewer
from fedchain.core.releases import Decision, Descent, VersionState
from fedchain.ports.models import (
    ReleaseStep,
    ReviewerChanged,
    VersionDecided,
    VersionDisposed,
    VersionMoved,
    VersionSubmitted,
    VersionTainted,
)
from fedchain.workflow.verify import Verifier
from tests.doubles.training import AddingAccountant
from tests.workflow.review import CLARA, MINUTE, QUINN, ROLES, Desk, reviewed, voter

Change = Callable[[ReleaseStep], ReleaseStep | None]


def verify(desk: Desk) -> Lineage:
    new = desk.new
    return (
        Verifier(new.ledger, new.store, AddingAccountant(), serially, models=desk.models, roles=ROLES).audit().lineage
    )


def approve(desk: Desk) -> None:
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ())


def whole() -> Desk:
    """A version approved, deployed, tainted, disposed of, approved again; a vote taken back, a reviewer dismissed."""
    desk = reviewed()
    approve(desk)
    desk.releases.bring(desk.name, VersionState.DEPLOYED, desk.new.members[0].admin, ())
    desk.new.withdraw_consent(0)
    desk.new.clock.forward(MINUTE)
    dataset = desk.new.members[0].applicant.dataset
    descent = Descent((desk.origin.version,), desk.origin.datasets)
    first = desk.ballots.dispose(desk.name, dataset, voter(CLARA), (), descent)
    desk.new.clock.forward(MINUTE)
    desk.ballots.dispose(desk.name, dataset, voter(QUINN), first.votes, descent)
    desk.new.clock.forward(MINUTE)
    desk.open_review()
    vote = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    desk.ballots.cancel(voter(CLARA), vote)
    approve(desk)
    desk.releases.dismiss(QUINN.address, desk.new.members[2].admin)
    return desk


def test_an_honest_release_is_told_with_its_decisions_and_who_signed_them() -> None:
    desk = whole()
    found = verify(desk)
    assert (found.verdict, found.findings) == (Verdict.SELF_CONSISTENT, ())
    (release,) = found.releases
    status = desk.models.status(desk.name)
    assert (release.state, release.approved_until) == ("approved", status.approved_until)
    assert [each.decision.partition(" ")[0] for each in release.rulings] == ["approve", "let", "approve"]
    assert {each.level for each in release.rulings} == {ClaimLevel.SIGNED}
    for ruling in release.rulings:
        assert {vote.reviewer for vote in ruling.votes} == {CLARA.address.hex(), QUINN.address.hex()}
        assert [vote.role for vote in ruling.votes if vote.reviewer == CLARA.address.hex()] == ["clinical"]
        assert all(vote.sentence.startswith(ruling.decision.partition(" ")[0]) for vote in ruling.votes)
    claims = {each.name: each.instances for each in found.claims}
    assert (claims["approval"], claims["release"]) == (6, len(desk.models.log))


def test_votes_that_no_transaction_shows_leave_the_decision_anchored_only() -> None:
    desk = reviewed()
    approve(desk)
    change(desk, lambda step: replace(step, votes=None) if isinstance(step, VersionDecided) else step)
    found = verify(desk)
    assert found.findings == ()
    (ruling,) = found.releases[0].rulings
    assert (ruling.level, ruling.votes) == (ClaimLevel.ANCHORED, ())
    assert "approval" not in {each.name for each in found.claims}


def test_no_release_is_told_where_only_one_run_is_verified() -> None:
    desk = whole()
    run = desk.new.links()[0].link.run
    verifier = Verifier(desk.new.ledger, desk.new.store, AddingAccountant(), serially, models=desk.models, roles=ROLES)
    assert verifier.audit(run=run).lineage.releases == ()


def change(desk: Desk, by: Change) -> None:
    """Change the steps that the registry reports, not what it keeps."""
    steps = [(each, by(each.step)) for each in desk.models.log]
    desk.models.log = [replace(each, step=step) for each, step in steps if step is not None]


def of(kind: type[ReleaseStep], by: Callable[..., ReleaseStep | None]) -> Change:
    return lambda step: by(step) if isinstance(step, kind) else step


def reviewer(kind: type[RegisterReviewer | RevokeReviewer | CancelApprovals], by: Callable[..., object]) -> Change:
    def change(step: ReleaseStep) -> ReleaseStep | None:
        is_it = isinstance(step, ReviewerChanged) and isinstance(step.message, kind)
        return by(step) if is_it else step  # type: ignore[return-value]

    return change


def first_vote(**changes: object) -> Callable[[VersionDecided], VersionDecided]:
    def by(step: VersionDecided) -> VersionDecided:
        assert step.votes is not None
        return replace(step, votes=(replace(step.votes[0], **changes), *step.votes[1:]))  # type: ignore[arg-type]

    return by


STRANGE = b"\x99" * 32
CHANGES: dict[str, tuple[str, Change]] = {
    "a submission is missing": ("release", of(VersionSubmitted, lambda _: None)),
    "another id": ("release", of(VersionSubmitted, lambda step: replace(step, version_id=STRANGE))),
    "another model": (
        "release",
        of(VersionSubmitted, lambda step: replace(step, version=replace(step.version, model=STRANGE))),
    ),
    "another's submission": ("release", of(VersionSubmitted, lambda step: replace(step, signature=b"\x01" * 65))),
    "a move is missing": ("release", of(VersionMoved, lambda _: None)),
    "a move elsewhere": ("release", of(VersionMoved, lambda step: replace(step, after=VersionState.REVOKED))),
    "a move with a foreign signature": (
        "release",
        of(VersionMoved, lambda step: replace(step, signature=b"\x01" * 65)),
    ),
    "a decision is missing": ("release", of(VersionDecided, lambda _: None)),
    "a longer approval": ("release", of(VersionDecided, lambda step: replace(step, approved_until=2**40))),
    "one vote only": ("approval", of(VersionDecided, lambda step: replace(step, votes=step.votes[:1]))),
    "one vote twice": ("approval", of(VersionDecided, lambda step: replace(step, votes=step.votes[:1] * 2))),
    "a vote for longer": ("approval", of(VersionDecided, first_vote(valid_until=2**40))),
    "a vote with another meaning": ("approval", of(VersionDecided, first_vote(meaning=STRANGE))),
    "a vote without a signature": ("approval", of(VersionDecided, first_vote(signature=b""))),
    "a vote of another review": ("approval", of(VersionDecided, first_vote(signed_at=1))),
    "a stranger's vote": ("approval", of(VersionDecided, first_vote(signer=b"\x98" * 20))),
    "a taint is missing": ("release", of(VersionTainted, lambda _: None)),
    "a taint by another dataset": ("release", of(VersionTainted, lambda step: replace(step, dataset=STRANGE))),
    "a disposition is missing": ("release", of(VersionDisposed, lambda _: None)),
    "a disposition of another dataset": ("release", of(VersionDisposed, lambda step: replace(step, dataset=STRANGE))),
    "a disposition without its votes": ("approval", of(VersionDisposed, lambda step: replace(step, votes=()))),
    "a reviewer whom nobody named": ("approval", reviewer(RegisterReviewer, lambda _: None)),
    "a reviewer named by another": (
        "release",
        reviewer(RegisterReviewer, lambda s: replace(s, signature=b"\x01" * 65)),
    ),
    "a reviewer dismissed by another": (
        "release",
        reviewer(RevokeReviewer, lambda s: replace(s, signature=b"\x01" * 65)),
    ),
    "votes taken back by another": ("release", reviewer(CancelApprovals, lambda s: replace(s, signature=b"\x01" * 65))),
}


@pytest.fixture(scope="module")
def desk() -> Desk:
    return whole()


@pytest.mark.parametrize("what", CHANGES)
def test_a_step_that_was_changed_is_a_finding(desk: Desk, what: str) -> None:
    claim, by = CHANGES[what]
    honest = list(desk.models.log)
    try:
        change(desk, by)
        assert desk.models.log != honest
        found = verify(desk)
    finally:
        desk.models.log = honest
    assert found.verdict is Verdict.FINDINGS
    assert claim in {each.claim for each in found.findings}


def test_a_registry_that_keeps_another_state_is_a_finding() -> None:
    desk = reviewed()
    status = desk.models.states[desk.name]
    desk.models.states[desk.name] = replace(status, state=VersionState.APPROVED, approved_until=2**40)
    (finding,) = verify(desk).findings
    assert (finding.claim, finding.level) == ("release", ClaimLevel.ANCHORED)
    assert "in review" in finding.expected
    assert "approved" in finding.got


def test_a_version_that_names_other_datasets_than_its_rounds_is_a_finding() -> None:
    desk = reviewed()
    admin = desk.new.members[0].admin
    other = replace(desk.origin, version=replace(desk.origin.version, datasets_root=STRANGE))
    desk.releases.register(other, admin)
    assert {each.claim for each in verify(desk).findings} == {"release"}
