"""What the claims on record add up to: a new one that falls short is refused, an honest one never is."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import IntegrityError
from fedchain.core.lineage import Verdict
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO, DpParams, Release
from fedchain.core.rejection import Reason
from fedchain.core.task import Task, UpdateHeader
from fedchain.ports.cohort import Reply
from fedchain.workflow.spending import Claim, Spending, by_total, recorded_spending, shortfall
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import Federation, federation
from tests.workflow.drafts import Draft, genuine
from tests.workflow.forgery import damage, finished, lose

OTHER_SALT, DELTA = b"\x0b" * 32, 10_000_000


def header(run: int, epsilon: int, in_run: int, total: int) -> UpdateHeader:
    """Return the statement of an update that costs `epsilon` by the adding accountant."""
    draft = genuine()
    message = replace(draft.message, run=bytes([run]) * 32, micro_epsilon_total=total)
    dp: DpParams = replace(
        draft.dp, noise_multiplier_e6=MICRO, batches_per_epoch=1, steps=epsilon, run_micro_epsilon=in_run
    )
    return UpdateHeader(draft.domain.chain_id, draft.domain.contract, message, b"", dp)


def spending(*headers: UpdateHeader) -> Spending:
    new = Spending(AddingAccountant())
    for each in headers:
        new.record(each)
    return new


@pytest.mark.parametrize(
    ("in_run", "total", "is_understated"),
    [
        (5, 9, False), (5, 12, False), (UNBOUNDED // MICRO + 1, UNBOUNDED // MICRO + 1, False),
        (4, 9, True), (5, 8, True), (5, 3, True), (0, 9, True),
    ],
)  # fmt: skip
def test_a_claim_covers_its_run_and_its_datasets_lifetime(in_run: int, total: int, is_understated: bool) -> None:
    before = spending(header(1, 4, 4 * MICRO, 4 * MICRO), header(2, 2, 2 * MICRO, 6 * MICRO))
    claimed = header(2, 3, min(in_run * MICRO, UNBOUNDED), min(total * MICRO, UNBOUNDED))
    assert before.is_understated(claimed, DELTA) is is_understated


def test_a_total_never_falls_within_a_run_though_it_is_high_enough() -> None:
    before = spending(header(1, 1, MICRO, 9 * MICRO))
    assert before.is_understated(header(1, 1, 2 * MICRO, 8 * MICRO), DELTA)
    assert not before.is_understated(header(1, 1, 2 * MICRO, 9 * MICRO), DELTA)


def test_a_low_total_that_makes_a_later_one_too_low_is_understated() -> None:
    before = spending(header(1, 5, 5 * MICRO, 5 * MICRO))
    assert before.is_understated(header(2, 1, MICRO, MICRO), DELTA)


def test_parameters_that_no_accountant_knows_are_understated() -> None:
    assert spending().is_understated(header(1, 1, MICRO, MICRO), 0)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5)), min_size=1, max_size=12), st.randoms())
def test_an_honest_site_is_admitted_in_whatever_order_its_runs_are_recorded(
    charges: Sequence[tuple[int, int]], draw: random.Random
) -> None:
    queues: dict[int, list[UpdateHeader]] = {1: [], 2: [], 3: []}
    in_all, in_run = 0, dict.fromkeys(queues, 0)
    for run, epsilon in charges:
        in_all, in_run[run] = in_all + epsilon, in_run[run] + epsilon
        queues[run].append(header(run, epsilon, in_run[run] * MICRO, in_all * MICRO))
    recorded = spending()
    while waiting := [queue for queue in queues.values() if queue]:
        each = draw.choice(waiting).pop(0)
        assert not recorded.is_understated(each, DELTA)
        recorded.record(each)


def test_equal_totals_keep_the_order_in_which_they_were_recorded() -> None:
    claims = [Claim(b"", Release(MICRO, 1, 1), 1, total) for total in (3, 1, 3, 2, 1)]
    assert by_total(claims) == [1, 4, 3, 0, 2]


def test_nothing_is_short_of_the_unbounded() -> None:
    unprotected = Claim(b"", Release(0, 1, 1), UNBOUNDED, UNBOUNDED)
    assert shortfall([unprotected], UNBOUNDED, DELTA, AddingAccountant()) is None
    assert shortfall([unprotected], 9 * MICRO, DELTA, AddingAccountant()) is not None


# ------------------------------------------------------------------ in a round


def lying(new: Federation, round_: int, change: Callable[[Draft], None]) -> None:
    """Have the first site sign another claim in a round."""

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        if (task.round, reply.node) != (round_, 1):
            return [reply]
        draft = Draft.of(new, task, reply)
        change(draft)
        return [draft.reply()]

    new.cohort.tamper = tamper


def claim(run: int, total: int) -> Callable[[Draft], None]:
    def change(draft: Draft) -> None:
        draft.message = replace(draft.message, micro_epsilon_total=total * MICRO)
        draft.dp = replace(draft.dp, run_micro_epsilon=run * MICRO)

    return change


@pytest.mark.parametrize(("run", "total"), [(2, 2), (4, 1), (3, 4), (4, 3)])
def test_a_client_that_understates_is_left_out_and_the_run_still_verifies(run: int, total: int) -> None:
    new = federation()
    lying(new, 2, claim(run, total))
    new.run()
    assert [(each.reason, each.node) for each in new.manifest(2).rejected] == [(Reason.PRIVACY_MISSTATED, 1)]
    assert new.verify().verdict is Verdict.SELF_CONSISTENT


def test_a_client_that_forgets_its_earlier_run_is_left_out_of_the_next() -> None:
    first = finished()
    second = first.another_run(OTHER_SALT)
    lying(second, 1, claim(2, 2))
    second.run()
    assert [each.reason for each in second.manifest(1).rejected] == [Reason.PRIVACY_MISSTATED]
    assert second.verify().verdict is Verdict.SELF_CONSISTENT


@pytest.fixture(name="history")
def _history() -> Federation:
    return finished()


def forgetful(history: Federation) -> bool:
    """Tell whether a first update of another run, which claims nothing of the run on record, is understated."""
    spent = recorded_spending(history.ledger, history.store, OTHER_SALT, AddingAccountant())
    return spent.is_understated(header(0x0B, 1, MICRO, MICRO), DELTA)


def manifests_of_sealed_rounds(history: Federation) -> list[str]:
    digests = [event.link.manifest_digest for event in history.links()[:2]]
    return [each.text for digest in digests for each in history.store.artifacts if each.digest == digest]


def test_other_runs_count_as_far_as_their_manifests_are_in_this_store(history: Federation) -> None:
    first, second = manifests_of_sealed_rounds(history)
    assert forgetful(history)
    lose(history, second)
    assert forgetful(history)
    lose(history, first)
    assert not forgetful(history)


def test_a_damaged_manifest_of_another_run_is_an_error_and_not_a_silence(history: Federation) -> None:
    damage(history, manifests_of_sealed_rounds(history)[0])
    with pytest.raises(IntegrityError):
        forgetful(history)


def test_the_run_itself_is_counted_by_its_own_journal(history: Federation) -> None:
    own = recorded_spending(history.ledger, history.store, history.plan.manifest.run, AddingAccountant())
    assert not own.is_understated(header(0x0B, 1, MICRO, MICRO), DELTA)
