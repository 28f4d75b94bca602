"""What a round pays, re-derived by a stranger: worth decides; copies and idle updates earn nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tests.scenarios.federation
from fedchain.core.aggregation import ExactSum
from fedchain.core.cid import Cid
from fedchain.core.envelope import Envelope
from fedchain.core.errors import InputError, IntegrityError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import ArtifactRef, RewardTerms, RunManifest
from fedchain.core.policy import GrantKind
from fedchain.core.rewards import RoundRewards
from fedchain.core.scoring import STATISTIC, ValidationSet, validation_digest, value
from fedchain.core.task import Task
from fedchain.core.tensors import IntTensors, TensorSchema, decode, encode
from fedchain.ports.cohort import Reply
from fedchain.workflow.rewards import read_validation
from tests.scenarios.federation import INITIAL, REWARDS, Federation, Setup, federation
from tests.workflow.drafts import Draft
from tests.workflow.forgery import damage, lose, rewrite_plan

PAID = Setup(sites=4, rounds=3, rewards=REWARDS)
POOL = REWARDS.pool_per_round


def finished(setup: Setup = PAID, change: Callable[[Federation], object] = lambda _: None) -> Federation:
    new = federation(setup)
    change(new)
    new.run()
    return new


def terms_of(new: Federation) -> RewardTerms:
    terms = new.plan.manifest.rewards
    assert terms is not None
    return terms


def rows_of(new: Federation) -> ValidationSet:
    return ValidationSet.from_bytes(new.store.get(Cid.parse(terms_of(new).validation.cid)))


def updates_of(new: Federation, round_: int) -> dict[bytes, tuple[IntTensors, int]]:
    """Each client's update and weight, in a round."""
    signers = {each.applicant.dataset: each.device.address for each in new.members}
    return {
        signers[each.header.message.dataset]: (
            decode(Envelope.from_bytes(new.store.get(Cid.parse(each.payload_cid))).update),
            each.header.message.weight,
        )
        for each in new.manifest(round_).accepted
    }


def worth(new: Federation, round_: int, without: bytes | None) -> int:
    """The value of a round's model, computed from scratch, with one client's update replaced by zeros."""
    base = decode(new.store.get(Cid.parse(new.manifest(round_).base_model.cid)))
    total = ExactSum(TensorSchema.of(base))
    for client, (update, weight) in updates_of(new, round_).items():
        total.add({name: array * (client != without) for name, array in update.items()}, weight)
    return value(total.apply_to(base, FixedPoint()), rows_of(new), 24)


def by_client(rewards: RoundRewards) -> dict[bytes, tuple[int, int]]:
    return {each.client: (each.score, each.pay) for each in rewards.shares}


def test_a_score_is_what_the_model_loses_without_the_update() -> None:
    new = finished()
    history = new.rewards()
    assert [each.round for each in history.rounds] == [1, 2, 3]
    assert any(share.score for each in history.rounds for share in each.shares)
    for each in history.rounds:
        model = decode(new.store.get(Cid.parse(new.manifest(each.round).model.cid)))
        assert each.value == value(model, rows_of(new), 24) == worth(new, each.round, None)
        for share in each.shares:
            assert share.score == each.value - worth(new, each.round, share.client)


def test_each_round_pays_its_pool_and_balances_add_up() -> None:
    history = finished().rewards()
    earned: dict[bytes, int] = {}
    for each in history.rounds:
        positive = any(share.score > 0 for share in each.shares)
        assert sum(share.pay for share in each.shares) == (POOL if positive else 0)
        for share in each.shares:
            earned[share.client] = earned.get(share.client, 0) + share.pay
            assert share.cumulative == earned[share.client]
    assert {each.account: each.cumulative for each in history.report().balances} == earned
    assert history.report().total > 0


def test_the_order_of_replies_changes_no_pay() -> None:
    setup = replace(PAID, epsilon=None)

    def shuffle(new: Federation) -> None:
        new.cohort.order = [4, 2, 1, 3]

    straight, shuffled = finished(setup).rewards(), finished(setup, shuffle).rewards()
    assert [by_client(each) for each in straight.rounds] == [by_client(each) for each in shuffled.rounds]


def test_runs_of_one_federation_add_up_in_ledger_order() -> None:
    new = finished()
    first = new.rewards().report()
    other = new.another_run(b"\x0b" * 32)
    other.run()
    history = other.rewards()
    assert [each.run for each in history.rounds] == [new.plan.manifest.run] * 3 + [other.plan.manifest.run] * 3
    assert history.report(3) == first
    for before, after in zip(first.balances, history.report().balances, strict=True):
        assert (after.account, after.cumulative >= before.cumulative) == (before.account, True)


def test_a_run_without_rewards_pays_nothing_and_stores_no_donated_row() -> None:
    new = finished(Setup())
    assert new.plan.manifest.rewards is None
    assert new.rewards().rounds == ()
    assert new.rewards().report().total == 0


# who gains nothing


def sends(member: int, change: Callable[[Draft], object]) -> Callable[[Federation], None]:
    """Have a member answer with something else, which it signs."""

    def act(new: Federation) -> None:
        def tamper(task: Task, reply: Reply) -> list[Reply]:
            if reply.node != member + 1:
                return [reply]
            draft = Draft.of(new, task, reply)
            change(draft)
            return [draft.reply()]

        new.cohort.tamper = tamper

    return act


def zeros(draft: Draft) -> None:
    draft.carry(encode({name: np.zeros_like(array) for name, array in draft.tensors.items()}))


def copies(member: int, original: int) -> Callable[[Federation], None]:
    """Have a member send the very update of another, under its own signature and salt."""

    def act(new: Federation) -> None:
        new.members[member].trainer.name = new.members[original].trainer.name

    return act


@pytest.mark.parametrize("member", range(4))
def test_a_free_rider_is_paid_nothing(member: int) -> None:
    new = finished(change=sends(member, zeros))
    client = new.members[member].device.address
    for each in new.rewards().rounds:
        assert by_client(each)[client] == (0, 0)


@pytest.mark.parametrize(("copier", "original"), [(3, 0), (0, 3), (1, 2)])
def test_a_copied_update_earns_nothing_extra(copier: int, original: int) -> None:
    """With the copy in its place, the two share what the lighter of them earns when the other sends zeros."""
    heavier, lighter = max(copier, original), min(copier, original)
    setup = replace(PAID, rounds=1)
    with_copy = by_client(finished(setup, copies(copier, original)).rewards().rounds[0])

    def alone(new: Federation) -> None:
        new.members[lighter].trainer.name = new.members[original].trainer.name
        sends(heavier, zeros)(new)

    new = finished(setup, alone)
    without = by_client(new.rewards().rounds[0])
    low, high = (new.members[each].device.address for each in (lighter, heavier))
    assert without[high] == (0, 0)
    assert with_copy[low][0] == with_copy[high][0] == without[low][0]
    assert with_copy[low][1] + with_copy[high][1] == without[low][1]
    assert abs(with_copy[low][1] - with_copy[high][1]) <= 1
    for client in set(without) - {low, high}:
        assert with_copy[client] == without[client]


def test_copies_only_pay_once_even_if_all_send_the_same() -> None:
    def act(new: Federation) -> None:
        for each in new.members:
            each.trainer.name = "site-1"

    for each in finished(change=act).rewards().rounds:
        scores = {share.score for share in each.shares}
        assert len(scores) == 1
        assert sum(share.pay for share in each.shares) == (POOL if scores.pop() > 0 else 0)


# what is committed


def test_the_donated_rows_are_in_the_store_with_their_donors_and_counts() -> None:
    new = finished()
    terms, rows = terms_of(new), rows_of(new)
    assert terms.statistic == STATISTIC
    assert terms.validation.digest == validation_digest(rows.to_bytes())
    assert [each.client for each in terms.donors] == sorted(each.device.address for each in new.members)
    assert rows.counts(4) == tuple(each.rows for each in terms.donors) == (12,) * 4


def test_a_donation_that_the_policy_does_not_allow_is_refused() -> None:
    with pytest.raises(PolicyError, match="lets no row leave"):
        federation(replace(PAID, allows_unprotected=False, grant=GrantKind.LIFETIME))


def test_a_run_whose_model_cannot_be_scored_or_that_has_no_donor_is_refused_before_it_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tests.scenarios.federation, "SCORABLE", INITIAL)
        with pytest.raises(InputError, match="cannot be scored"):
            federation(PAID)
    with pytest.raises(PolicyError, match="need donated rows"):
        federation(replace(PAID, sites=0, min_clients=0))


def alter_terms(new: Federation, **changes: Any) -> None:
    """Rewrite the run's manifest, and all that names it."""

    def change(run: RunManifest) -> RunManifest:
        assert run.rewards is not None
        return replace(run, rewards=replace(run.rewards, **changes))

    rewrite_plan(new, change)


def other_rows(new: Federation) -> ArtifactRef:
    rows = rows_of(new)
    data = replace(rows, labels=(1 - rows.labels).astype(np.int32)).to_bytes()
    return ArtifactRef(new.store.put(data).text, validation_digest(data))


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (lambda _: {"pool_per_round": POOL + 1}, "configuration"),
        (lambda _: {"statistic": "other/1"}, "validation"),
        (lambda new: {"donors": terms_of(new).donors[:3]}, "validation"),
        (lambda new: {"donors": terms_of(new).donors[::-1]}, "validation"),
        (lambda new: {"donors": (replace(terms_of(new).donors[0], rows=13), *terms_of(new).donors[1:])}, "validation"),
        (
            lambda new: {"donors": (replace(terms_of(new).donors[0], client=bytes(20)), *terms_of(new).donors[1:])},
            "validation",
        ),
        (lambda new: {"validation": replace(terms_of(new).validation, digest=bytes(32))}, "validation"),
        (lambda new: {"validation": replace(terms_of(new).validation, cid=other_rows(new).cid)}, "validation"),
    ],
)
def test_terms_that_do_not_fit_are_a_finding(change: Callable[[Federation], dict[str, Any]], claim: str) -> None:
    new = finished()
    alter_terms(new, **change(new))
    assert {each.claim for each in new.verify().findings} == {claim}


def test_lost_or_damaged_donated_rows_are_a_finding() -> None:
    for act in (lose, damage):
        new = finished()
        act(new, terms_of(new).validation.cid)
        assert [each.claim for each in new.verify().findings] == ["validation"]


def test_donated_rows_are_a_claim_of_the_verification() -> None:
    claims = {each.name: each.instances for each in finished().verify().claims}
    assert claims["validation"] == 1
    assert "validation" not in {each.name for each in finished(Setup()).verify().claims}


def test_no_two_reports_of_a_federation_have_one_name() -> None:
    history = finished().rewards()
    assert len({history.report(length).cid() for length in range(4)}) == 4


def test_altered_rows_are_refused_where_scores_are_computed() -> None:
    new = finished()
    terms = replace(terms_of(new), validation=replace(terms_of(new).validation, cid=other_rows(new).cid))
    with pytest.raises(IntegrityError, match="donated rows"):
        read_validation(new.plan.manifest, terms, new.store)
