"""The accountant as a port: pure, monotone, within its ranges, honest about which bound it gives."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release, merged

ACCOUNTANT = PrvAccountant()
DELTA = 1e-5
releases = st.builds(
    Release, st.sampled_from([700_000, 1_000_000, 2_500_000]), st.sampled_from([1, 4]), st.integers(1, 30)
)


def test_nothing_released_costs_nothing() -> None:
    assert ACCOUNTANT.spent([], DELTA).epsilon == 0
    assert ACCOUNTANT.spent([Release(10**6, 5, 0)], DELTA).epsilon == 0


def test_an_unprotected_release_costs_everything() -> None:
    assert math.isinf(ACCOUNTANT.spent([Release(10**6, 5, 5), Release(0, 5, 5)], DELTA).epsilon)


@settings(max_examples=6)
@given(history=st.lists(releases, min_size=1, max_size=3))
def test_order_and_grouping_do_not_matter(history: list[Release]) -> None:
    spent = ACCOUNTANT.spent(history, DELTA)
    assert ACCOUNTANT.spent(history[::-1], DELTA) == spent == ACCOUNTANT.spent(merged(history), DELTA)


@settings(max_examples=6)
@given(history=st.lists(releases, min_size=1, max_size=2), more=releases)
def test_another_release_never_lowers_the_loss(history: list[Release], more: Release) -> None:
    before, after = ACCOUNTANT.spent(history, DELTA).epsilon, ACCOUNTANT.spent([*history, more], DELTA).epsilon
    assert after >= before - 1e-5  # what the grid itself may move


def test_where_the_grid_would_be_too_large_the_bound_is_renyis_and_says_so() -> None:
    many = Release(5_000_000, 20, 10**6)
    assert ACCOUNTANT.spent([many], DELTA).accountant == "rdp"
    assert 93.17 <= ACCOUNTANT.spent([many], DELTA).epsilon <= 93.17 * 1.1  # 93.17 by dp-accounting
    assert ACCOUNTANT.spent([Release(10**6, 10, 100)], 1e-12).accountant == "rdp"
    assert ACCOUNTANT.spent([Release(10**6, 10, 100)], DELTA).accountant == "prv"


def test_the_renyi_bound_is_above_prv_and_near_it() -> None:
    prv = ACCOUNTANT.spent([Release(10**6, 10, 100)], 1e-10)
    rdp = ACCOUNTANT.spent([Release(10**6, 10, 100)], 0.99e-10)
    assert (prv.accountant, rdp.accountant) == ("prv", "rdp")
    assert prv.epsilon < rdp.epsilon < 1.15 * prv.epsilon


def test_many_different_releases_are_answered_by_renyi_in_time() -> None:
    history = [Release(1_000_000 + 1000 * number, 10, 400) for number in range(30)]
    assert ACCOUNTANT.spent(history, DELTA).accountant == "rdp"


@pytest.mark.parametrize(("batches", "steps"), [(7, 35), (1, 5), (3, 30)])
@pytest.mark.parametrize("epsilon", [0.5, 3.0, 8.0])
def test_the_calibrated_noise_is_enough_and_a_thousandth_less_is_not(epsilon: float, batches: int, steps: int) -> None:
    noise = ACCOUNTANT.calibrate(epsilon=epsilon, delta=DELTA, batches_per_epoch=batches, steps=steps)
    assert ACCOUNTANT.spent([Release(noise, batches, steps)], DELTA).epsilon <= epsilon
    assert ACCOUNTANT.spent([Release(math.floor(0.999 * noise), batches, steps)], DELTA).epsilon > epsilon


def test_a_generous_target_gets_the_least_noise_that_is_allowed() -> None:
    assert ACCOUNTANT.calibrate(epsilon=500, delta=DELTA, batches_per_epoch=1, steps=1) == 300_000


@pytest.mark.parametrize(
    ("epsilon", "delta", "batches", "steps"),
    [
        (0.0, DELTA, 5, 5), (-1.0, DELTA, 5, 5), (math.inf, DELTA, 5, 5), (math.nan, DELTA, 5, 5), (0.01, DELTA, 5, 5),
        (1.0, 0.0, 5, 5), (1.0, 1.0, 5, 5), (1.0, math.nan, 5, 5),
        (1.0, DELTA, 0, 5), (1.0, DELTA, 5, 0), (1.0, DELTA, 5, 10**6 + 1),
    ],
)  # fmt: skip
def test_what_cannot_be_calibrated_is_one_line(epsilon: float, delta: float, batches: int, steps: int) -> None:
    with pytest.raises(InputError, match="expected"):
        ACCOUNTANT.calibrate(epsilon=epsilon, delta=delta, batches_per_epoch=batches, steps=steps)


@pytest.mark.parametrize(
    "history",
    [
        [Release(299_999, 5, 5)],
        [Release(10**12 + 1, 5, 5)],
        [Release(-1, 5, 5)],
        [Release(10**6, 0, 5)],
        [Release(10**6, 5, -1)],
        [Release(10**6, 5, 10**6), Release(2 * 10**6, 5, 1)],
    ],
    ids=str,
)
def test_releases_outside_the_proofs_are_refused(history: list[Release]) -> None:
    with pytest.raises(InputError, match="expected"):
        ACCOUNTANT.spent(history, DELTA)
