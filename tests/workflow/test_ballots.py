"""Reviewers' votes: what is enough is sent once, what cannot count is refused before it is signed."""

from __future__ import annotations

import pytest

from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Taint
from fedchain.core.releases import Decision, Descent, VersionState, meaning_of
from fedchain.workflow.releases import Releases
from tests.doubles.signer import NamedSigner
from tests.workflow.review import CLARA, MINUTE, QUINN, ROLES, Desk, reviewed, voter


@pytest.fixture
def desk() -> Desk:
    return reviewed()


def taints(desk: Desk) -> tuple[Taint, ...]:
    dataset = desk.new.members[0].applicant.dataset
    withdrawn_at = desk.new.record.state.consents[dataset].withdrawn_at
    return () if withdrawn_at is None else (Taint(dataset.hex(), withdrawn_at),)


def test_the_vote_that_was_missing_sends_all_of_them_and_a_further_one_nothing(desk: Desk) -> None:
    first = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ())
    assert first.missing == "1 of 2 votes; missing: quality"
    assert [each.transaction for each in first.done] == [b""]
    assert (desk.state, desk.ballots.missing(first.votes)) == (VersionState.IN_REVIEW, first.missing)
    again = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), first.votes, ())
    assert len(again.votes) == 1
    last = desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), again.votes, ())
    assert (last.missing, len(last.votes), desk.state) == ("", 2, VersionState.APPROVED)
    assert last.done[-1].transaction
    assert desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), last.votes, ()).done == ()


def test_a_signature_covers_the_sentence_that_was_told_before(desk: Desk) -> None:
    found = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA, "clara"), (), ())
    told = desk.said[-1]
    assert told.who == f"reviewer clara (0x{CLARA.address.hex()})"
    assert f"approve version 0x{desk.name.hex()}, as clinical reviewer" in told.sentence
    assert found.votes[0].meaning == meaning_of(told.sentence)


def test_who_may_not_vote_signs_nothing(desk: Desk) -> None:
    stranger, own = NamedSigner("stranger"), NamedSigner("own")
    member = desk.new.members[0]
    Releases(desk.models, ROLES, desk.new.clock, desk.said.append).name_reviewer(
        member.applicant.organisation, member.admin, own.address, 2
    )
    before = len(desk.said)
    for key, reason in ((stranger, "no reviewer"), (own, "submitted the model")):
        with pytest.raises(PolicyError, match=reason):
            desk.ballots.vote(desk.name, Decision.APPROVE, voter(key), (), ())
    with pytest.raises(PolicyError, match="to suspend a version"):
        desk.ballots.vote(desk.name, Decision.SUSPEND, voter(CLARA), (), ())
    with pytest.raises(InputError, match="no such version"):
        desk.ballots.vote(b"\x99" * 32, Decision.APPROVE, voter(CLARA), (), ())
    assert len(desk.said) == before


def test_votes_of_an_earlier_review_are_asked_for_again(desk: Desk) -> None:
    old = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    back = desk.ballots.vote(desk.name, Decision.SEND_BACK, voter(CLARA), (), ()).votes
    assert desk.ballots.vote(desk.name, Decision.SEND_BACK, voter(QUINN), back, ()).missing == ""
    assert desk.state is VersionState.CANDIDATE
    desk.new.clock.forward(MINUTE)
    desk.open_review()
    found = desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), old, ())
    assert found.missing == "1 of 2 votes; missing: clinical"


def test_one_reviewer_suspends(desk: Desk) -> None:
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ())
    assert desk.ballots.vote(desk.name, Decision.SUSPEND, voter(CLARA), (), ()).missing == ""
    assert desk.state is VersionState.SUSPENDED


def test_a_withdrawn_dataset_blocks_approvals_until_its_disposition(desk: Desk) -> None:
    desk.new.withdraw_consent(0)
    desk.new.clock.forward(MINUTE)
    dataset, found = desk.new.members[0].applicant.dataset, taints(desk)
    with pytest.raises(PolicyError, match=f"tainted.*{dataset.hex()}"):
        desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), found)
    descent = Descent((desk.origin.version,), desk.origin.datasets)
    first = desk.ballots.dispose(desk.name, dataset, voter(CLARA), (), descent)
    assert (first.missing, desk.state) == ("1 of 2 votes; missing: quality", VersionState.TAINTED)
    assert [bool(each.transaction) for each in first.done] == [True, False], "the taint is on the ledger first"
    desk.new.clock.forward(MINUTE)
    last = desk.ballots.dispose(desk.name, dataset, voter(QUINN), first.votes, descent)
    assert (last.missing, desk.state) == ("", VersionState.CANDIDATE)
    assert desk.ballots.dispose(desk.name, dataset, voter(CLARA), (), descent).done == ()
    desk.new.clock.forward(MINUTE)
    desk.open_review()
    assert desk.ballots.open_taints(desk.name, found) == ()
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), found).votes
    desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, found)
    assert desk.models.is_released(desk.name)


def test_a_reviewer_takes_back_what_waits_once(desk: Desk) -> None:
    assert desk.ballots.cancel(voter(CLARA), ()) == ()
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    assert desk.ballots.cancel(voter(QUINN), votes) == (), "not its own"
    (done,) = desk.ballots.cancel(voter(CLARA), votes)
    assert done.transaction != b""
    assert "take back every vote" in desk.said[-1].sentence
    assert desk.ballots.cancel(voter(CLARA), votes) == ()
    assert desk.ballots.waiting(desk.name, Decision.APPROVE, votes) == ()
    assert desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ()).missing.endswith("clinical")
    with pytest.raises(PolicyError, match="no reviewer"):
        desk.ballots.cancel(voter(NamedSigner("stranger")), votes)


def test_votes_wait_only_while_their_question_is_open(desk: Desk) -> None:
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    assert desk.ballots.waiting(desk.name, Decision.APPROVE, votes) == votes
    assert desk.ballots.waiting(desk.name, None, votes) == ()
    both = desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ()).votes
    assert desk.ballots.waiting(desk.name, Decision.APPROVE, both) == ()


def test_an_organisation_deploys_what_is_approved_and_not_tainted_and_supersedes_it_once(desk: Desk) -> None:
    admin, releases = desk.new.members[0].admin, desk.releases
    with pytest.raises(PolicyError, match="expected approved"):
        releases.bring(desk.name, VersionState.DEPLOYED, admin, ())
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ())
    with pytest.raises(PolicyError, match="tainted"):
        releases.bring(desk.name, VersionState.DEPLOYED, admin, [Taint("d1" * 32, 1)])
    for state in (VersionState.DEPLOYED, VersionState.SUPERSEDED, VersionState.REVOKED):
        assert len(releases.bring(desk.name, state, admin, ())) == 1
        assert releases.bring(desk.name, state, admin, ()) == ()
        assert desk.state is state


def test_what_expired_is_not_deployed(desk: Desk) -> None:
    votes = desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ()).votes
    desk.ballots.vote(desk.name, Decision.APPROVE, voter(QUINN), votes, ())
    desk.new.clock.forward(366 * 24 * 3600)
    with pytest.raises(PolicyError, match="have ended"):
        desk.releases.bring(desk.name, VersionState.DEPLOYED, desk.new.members[0].admin, ())


def test_a_reviewer_is_dismissed_once(desk: Desk) -> None:
    admin = desk.new.members[1].admin
    assert len(desk.releases.dismiss(CLARA.address, admin)) == 1
    desk.new.clock.forward(MINUTE)
    assert desk.releases.dismiss(CLARA.address, admin) == ()
    with pytest.raises(PolicyError, match="no reviewer now"):
        desk.ballots.vote(desk.name, Decision.APPROVE, voter(CLARA), (), ())
    with pytest.raises(InputError, match="no such reviewer"):
        desk.releases.dismiss(b"\x99" * 20, admin)
