"""Accounting against an oracle (Google's dp-accounting) and a closed form: never below the truth, within .02 of it."""

from __future__ import annotations

import math

import pytest
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import PLDAccountant
from scipy import optimize, stats

from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.core.privacy import Release
from tests.privacy.synthetic import DELTA

ACCOUNTANT = PrvAccountant()
TOLERANCE = 0.02


def by_pld(releases: list[Release], delta: float) -> float:
    """Return epsilon by privacy loss distributions, on a grid that costs at most .001 against the default one."""
    oracle = PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE, value_discretization_interval=1e-3)
    for each in releases:
        step: dp_event.DpEvent = dp_event.GaussianDpEvent(each.noise_multiplier)
        if each.batches_per_epoch > 1:
            step = dp_event.PoissonSampledDpEvent(each.sample_rate, step)
        oracle.compose(dp_event.SelfComposedDpEvent(step, each.steps))
    return float(oracle.get_epsilon(delta))


def of_gaussian(release: Release, delta: float) -> float:
    """Return epsilon without sampling, in closed form (Balle and Wang, ICML 2018, theorem 8)."""
    mu = math.sqrt(release.steps) / release.noise_multiplier

    def excess(epsilon: float) -> float:
        below, above = stats.norm.cdf(mu / 2 - epsilon / mu), stats.norm.logcdf(-mu / 2 - epsilon / mu)
        return float(below - math.exp(epsilon + above) - delta)

    return float(optimize.brentq(excess, 0, 1000)) if excess(0) > 0 else 0.0


@pytest.mark.parametrize(
    "releases",
    [
        [Release(873_455, 7, 35)],
        [Release(1_343_597, 1, 5)],
        [Release(1_200_000, 2, 20)],
        [Release(600_000, 20, 60)],
        [Release(800_000, 100, 2000)],
        [Release(1_000_000, 10, 100), Release(2_000_000, 7, 35)],
        [Release(1_500_000, 10, 20), Release(900_000, 10, 20), Release(2_000_000, 1, 3)],
    ],
    ids=str,
)
def test_spent_is_within_two_hundredths_of_dp_accounting_and_not_below(releases: list[Release]) -> None:
    spent, truth = ACCOUNTANT.spent(releases, DELTA), by_pld(releases, DELTA)
    assert spent.accountant == "prv"
    assert truth - 1e-3 <= spent.epsilon <= truth + TOLERANCE


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-8, 1e-10])
@pytest.mark.parametrize("release", [Release(3_000_000, 1, 10), Release(10_000_000, 1, 1000), Release(600_000, 1, 1)])
def test_spent_is_within_two_hundredths_of_the_closed_form_where_every_row_is_used(
    release: Release, delta: float
) -> None:
    truth = of_gaussian(release, delta)
    assert truth <= ACCOUNTANT.spent([release], delta).epsilon <= truth + TOLERANCE


def test_rounds_of_a_run_compose_instead_of_starting_anew() -> None:
    once = Release(1_000_000, 10, 20)
    five_rounds = ACCOUNTANT.spent([once] * 5, DELTA).epsilon
    assert five_rounds == ACCOUNTANT.spent([Release(1_000_000, 10, 100)], DELTA).epsilon
    assert five_rounds == pytest.approx(by_pld([once] * 5, DELTA), abs=TOLERANCE)
    assert five_rounds > ACCOUNTANT.spent([once], DELTA).epsilon + 1


def test_runs_on_one_dataset_compose_whatever_their_parameters() -> None:
    runs = [Release(1_000_000, 10, 50), Release(1_400_000, 5, 25), Release(1_000_000, 10, 50)]
    together = ACCOUNTANT.spent(runs, DELTA).epsilon
    assert together == pytest.approx(by_pld(runs, DELTA), abs=TOLERANCE)
    assert together > max(ACCOUNTANT.spent([each], DELTA).epsilon for each in runs) + 0.5


@pytest.mark.parametrize(("epsilon", "batches", "steps"), [(8.0, 7, 35), (8.0, 1, 5), (3.0, 6, 30), (1.0, 3, 15)])
def test_a_calibrated_run_keeps_its_target_by_the_oracle_too(epsilon: float, batches: int, steps: int) -> None:
    noise = ACCOUNTANT.calibrate(epsilon=epsilon, delta=DELTA, batches_per_epoch=batches, steps=steps)
    assert by_pld([Release(noise, batches, steps)], DELTA) <= epsilon
