"""Privacy, recomputed: a claim below what the signed parameters add up to, or below an earlier one, is found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from fedchain.core.aggregation import serially
from fedchain.core.errors import InputError
from fedchain.core.lineage import Finding
from fedchain.core.messages import UNBOUNDED, ClientUpdate
from fedchain.core.privacy import MICRO, DpParams, Release
from fedchain.ports.training import Spent
from fedchain.workflow.spending import TOLERANCE
from fedchain.workflow.verify import Verifier
from tests.scenarios.federation import Federation, Setup, federation
from tests.workflow.forgery import finished, restate

OTHER_SALT = b"\x0b" * 32


def claiming(new: Federation, round_: int, *, run: int, total: int) -> None:
    """Have the first site sign other losses for a round."""

    def state(message: ClientUpdate) -> ClientUpdate:
        return replace(message, micro_epsilon_total=total)

    def params(dp: DpParams) -> DpParams:
        return replace(dp, run_micro_epsilon=run)

    restate(new, round_, 0, state, params)


def found(new: Federation) -> list[Finding]:
    return [finding for finding in new.verify().findings if finding.claim == "privacy"]


def test_what_the_sites_signed_is_what_the_parameters_add_up_to() -> None:
    assert found(finished()) == []


def test_a_total_below_the_recomputed_one_is_found_in_its_round() -> None:
    new = finished()
    claiming(new, 2, run=2 * MICRO, total=2 * MICRO)
    below_in_run, below_in_all = found(new)
    assert (below_in_run.round, below_in_all.round) == (2, 2)
    assert below_in_run.expected == below_in_all.expected == "at least 4 (sum)"
    assert below_in_run.got == f"epsilon 2 claimed by 0x{new.members[0].device.address.hex()}"


def test_a_run_below_the_recomputed_one_is_found_though_the_total_is_high_enough() -> None:
    new = finished()
    claiming(new, 2, run=3 * MICRO, total=9 * MICRO)
    (finding,) = found(new)
    assert (finding.round, finding.expected) == (2, "at least 4 (sum)")


def test_a_total_that_decreases_is_found_though_it_is_high_enough() -> None:
    new = finished()
    claiming(new, 1, run=2 * MICRO, total=9 * MICRO)
    claiming(new, 2, run=4 * MICRO, total=8 * MICRO)
    (finding,) = found(new)
    assert (finding.round, finding.expected) == (2, "at least 9 in all")


def test_a_total_that_stays_is_no_finding() -> None:
    new = finished()
    claiming(new, 1, run=2 * MICRO, total=9 * MICRO)
    claiming(new, 2, run=4 * MICRO, total=9 * MICRO)
    assert found(new) == []


@pytest.mark.parametrize(("short", "is_found"), [(0, False), (TOLERANCE, False), (TOLERANCE + 1, True)])
def test_accountants_may_differ_by_their_own_error_and_not_by_more(short: int, is_found: bool) -> None:
    assert TOLERANCE == 20_000  # micro-epsilon: within .02
    new = finished()
    claiming(new, 2, run=4 * MICRO - short, total=4 * MICRO - short)
    assert bool(found(new)) is is_found


def test_a_site_may_claim_more_than_was_released() -> None:
    new = finished()
    claiming(new, 2, run=8 * MICRO, total=10 * MICRO)
    assert found(new) == []


def test_attempts_that_died_are_in_the_claim_and_no_finding() -> None:
    new = federation()
    new.cohort.tamper = lambda task, reply: [] if (task.round, reply.node) == (1, 1) else [reply]
    new.run()
    (first,) = [each for each in new.manifest(2).accepted if each.header.message.weight == 100]
    assert first.header.message.micro_epsilon_total == 4 * MICRO
    assert found(new) == []


def test_the_total_of_a_second_run_holds_the_first() -> None:
    first = finished()
    second = first.another_run(OTHER_SALT)
    second.run()
    assert found(second) == []
    claiming(second, 2, run=4 * MICRO, total=4 * MICRO)
    decreased, too_low = found(second)
    assert (decreased.run, decreased.round, decreased.expected) == (
        second.plan.manifest.run.hex(),
        2,
        "at least 6 in all",
    )
    assert (too_low.run, too_low.round, too_low.expected) == (second.plan.manifest.run.hex(), 2, "at least 6 (sum)")


@pytest.mark.parametrize(("then", "is_found"), [(UNBOUNDED, False), (8 * MICRO, True)], ids=["unbounded", "forgets it"])
def test_after_training_without_privacy_no_finite_total_holds(then: int, is_found: bool) -> None:
    first = finished(Setup(epsilon=None))
    second = first.another_run(OTHER_SALT, Setup())
    second.run()
    claiming(second, 2, run=4 * MICRO, total=then)
    assert bool(found(second)) is is_found


@dataclass(frozen=True, slots=True)
class Narrow:
    """An accountant that knows no noise multiplier at all."""

    def spent(self, releases: Sequence[Release], delta: float) -> Spent:
        raise InputError("noise multiplier", expected="another", got=f"{len(releases)} releases at {delta}")

    def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
        raise InputError("epsilon", got=f"{epsilon}, {delta}, {batches_per_epoch}, {steps}")


def test_parameters_that_no_accountant_knows_are_a_finding_and_not_the_end() -> None:
    new = finished()
    lineage = Verifier(new.ledger, new.store, Narrow(), serially).verify()
    assert {(finding.claim, finding.round) for finding in lineage.findings} == {("privacy", 1), ("privacy", 2)}
    assert "parameters that an accountant knows" in lineage.findings[0].expected
