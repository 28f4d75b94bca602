"""All jobs of a sweep are composed with what was charged before, and held against each grant."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.core.messages import UNBOUNDED
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.privacy import MICRO, Release
from fedchain.workflow.summary import SweepSiteSummary
from fedchain.workflow.sweeping import Demand, grant_refusal, price_sweep
from tests.doubles.training import AddingAccountant

POLICY = DataPolicy("rows", "made up", GrantKind.LIFETIME, 8 * MICRO, 10_000_000, "example", allows_unprotected=False)
RELEASE = Release(1_000_000, 4, 10)
ACCOUNTANT = AddingAccountant()
ONE = round(ACCOUNTANT.spent([RELEASE], 1e-5).epsilon * MICRO)


def priced(jobs: int, *, earlier: int = 0, policy: DataPolicy = POLICY) -> SweepSiteSummary:
    return price_sweep("va", policy, [RELEASE] * earlier, [Demand(RELEASE, ONE)] * jobs, ACCOUNTANT)


def test_jobs_and_earlier_charges_add_up() -> None:
    site = priced(3, earlier=2)
    assert (site.jobs, site.micro_epsilon_run) == (3, ONE)
    assert site.micro_epsilon_charged == pytest.approx(2 * ONE, abs=2)
    assert site.micro_epsilon_total == pytest.approx(5 * ONE, abs=2)


def test_what_a_run_was_charged_already_is_not_asked_for_again() -> None:
    left = Demand(replace(RELEASE, steps=0), ONE)
    site = price_sweep("va", POLICY, [RELEASE], [left], ACCOUNTANT)
    assert site.micro_epsilon_total == site.micro_epsilon_charged


def test_a_lifetime_grant_is_for_all_jobs_together_and_the_refusal_says_what_is_needed() -> None:
    tight = replace(POLICY, micro_epsilon_grant=5 * ONE + 10)
    assert grant_refusal(priced(3, earlier=2, policy=tight)) is None
    refusal = grant_refusal(priced(4, earlier=2, policy=tight))
    assert refusal is not None
    assert refusal.what == "the sweep would pass the privacy grant of va"
    assert refusal.expected == f"epsilon at most {(5 * ONE + 10) / MICRO:g} over the dataset's lifetime"
    assert refusal.got == f"{6 * ONE / MICRO:.4f} needed by its 4 jobs, {2 * ONE / MICRO:.4f} of it charged before"
    assert "lower privacy.epsilon" in str(refusal.remedy)


def test_a_sandbox_is_for_each_run_alone() -> None:
    sandbox = replace(POLICY, grant=GrantKind.SANDBOX, micro_epsilon_grant=ONE)
    assert grant_refusal(priced(100, earlier=100, policy=sandbox)) is None
    refusal = grant_refusal(priced(2, policy=replace(sandbox, micro_epsilon_grant=ONE - 1)))
    assert refusal is not None
    assert "needed by one of its jobs" in str(refusal)


def test_training_without_privacy_is_for_those_who_allow_it() -> None:
    demands = [Demand(Release(0, 4, 10), UNBOUNDED)]
    for allowed in (True, False):
        policy = replace(POLICY, allows_unprotected=allowed)
        site = replace(price_sweep("va", policy, [], demands, ACCOUNTANT), micro_epsilon_total=UNBOUNDED)
        assert (grant_refusal(site) is None) is allowed


def test_a_sweep_with_nothing_left_passes_whatever_was_charged() -> None:
    assert grant_refusal(priced(0, earlier=1000)) is None
