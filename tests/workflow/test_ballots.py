"""Reviewers' votes: what is enough is sent once, what cannot count is refused before it is signed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Taint
from fedchain.core.releases import (
    Decision,
    Descent,
    LinkRecord,
    Version,
    VersionState,
    datasets_tree,
    meaning_of,
    version_id,
)
from fedchain.ports.models import ReleaseIdentity, ReleaseTerms
from fedchain.workflow.ballots import Ballots, Voter
from fedchain.workflow.releases import Origin, Releases
from fedchain.workflow.signing import Signing
from tests.doubles.models import MemoryModels
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import IDENTITY, Federation, Setup, federation

ROLES = {1: "clinical", 2: "quality"}
CLARA, QUINN = NamedSigner("clara"), NamedSigner("quinn")
"""The clinical reviewer of the second member, and the quality reviewer of the third."""
MINUTE = 60
"""Two transactions never have one time, so the ledger may be some seconds ahead of the clock."""


@dataclass(slots=True)
class Desk:
    """A finished run whose model is in review."""

    new: Federation
    models: MemoryModels
    name: bytes
    origin: Origin
    said: list[Signing]

    @property
    def ballots(self) -> Ballots:
        return Ballots(self.models, ROLES, self.new.clock, self.said.append)

    def open_review(self) -> None:
        admin = self.new.members[0].admin
        Releases(self.models, ROLES, self.new.clock, self.said.append).register(self.origin, admin)
        self.new.clock.forward(MINUTE)

    @property
    def state(self) -> VersionState:
        return self.models.status(self.name).state


@pytest.fixture
def desk() -> Desk:
    new = federation(Setup(rounds=1))
    new.run()
    link = new.links()[0]
    models = MemoryModels(
        ReleaseIdentity(IDENTITY.chain_id, b"\x03" * 20, ReleaseTerms(IDENTITY.rounds_contract, 1, 2, 0b110)),
        new.record,
    )
    said: list[Signing] = []
    releases = Releases(models, ROLES, new.clock, said.append)
    organisations = [each.applicant.organisation for each in new.members]
    for member, reviewer, role in ((1, CLARA, 1), (2, QUINN, 2)):
        admin = new.members[member].admin
        assert len(releases.name_reviewer(organisations[member], admin, reviewer.address, role)) == 1
        assert releases.name_reviewer(organisations[member], admin, reviewer.address, role) == ()
    datasets = frozenset(each.applicant.dataset for each in new.members)
    version = Version(
        organisations[0], link.link.model_digest, link.link.manifest_digest, link.round_hash,
        datasets_tree(datasets).root, (),
    )  # fmt: skip
    head = new.record.state.head
    origin = Origin(version, datasets, (LinkRecord(link.link, link.previous_hash, head),))
    releases.register(origin, new.members[0].admin)
    new.clock.forward(MINUTE)
    return Desk(new, models, version_id(models.identity().domain, version), origin, said)


def voter(key: NamedSigner, name: str = "somebody") -> Voter:
    return Voter(name, key, ZERO)


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
