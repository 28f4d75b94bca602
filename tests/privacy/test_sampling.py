"""Poisson sampling at the charged rate: seen from outside, in what canaries leave in an update."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from fedchain.adapters.training.secret_stream import SecretStream
from tests.privacy.engines import ON_EACH_ENGINE, TrainerOf
from tests.privacy.synthetic import Mechanism, canaries


@ON_EACH_ENGINE
@pytest.mark.parametrize(("nominal_size", "batch_size"), [(33, 32), (40, 40), (30, 4)])
def test_rows_are_used_at_the_charged_rate_not_at_the_configured_one(
    nominal_size: int, batch_size: int, engine: TrainerOf
) -> None:
    steps_wanted = 400
    batches = math.ceil(nominal_size / batch_size)
    mechanism = Mechanism(nominal_size, batch_size, noise_multiplier=0.3, epochs=steps_wanted // batches)
    sums = mechanism.noisy_sums(engine(canaries(range(nominal_size), nominal_size)))["output.weight"]
    rate = -float(np.mean(sums)) / mechanism.release.steps
    assert rate == pytest.approx(1 / batches, abs=0.04)


def test_each_row_is_drawn_by_itself_so_that_batch_sizes_are_binomial() -> None:
    stream = SecretStream()
    sizes = np.array([len(stream.sample(50, 5)) for _ in range(4000)])
    expected = stats.binom.pmf(np.arange(51), 50, 0.2) * len(sizes)
    observed = np.bincount(sizes, minlength=51)
    common = expected > 20
    folded = np.append(observed[common], observed[~common].sum())
    assert stats.chisquare(folded, np.append(expected[common], expected[~common].sum())).pvalue > 1e-9


def test_rate_one_takes_every_row() -> None:
    assert SecretStream().sample(1000, 1).tolist() == list(range(1000))


@ON_EACH_ENGINE
def test_an_empty_sample_still_releases_noise(engine: TrainerOf) -> None:
    mechanism = Mechanism(nominal_size=1000, batch_size=1, noise_multiplier=1.0)
    partition = canaries(range(1), 200)
    sums = mechanism.noisy_sums(engine(partition))["output.weight"]
    assert np.std(sums) == pytest.approx(math.sqrt(mechanism.release.steps), rel=0.4)


@ON_EACH_ENGINE
def test_a_site_without_rows_releases_noise(engine: TrainerOf) -> None:
    mechanism = Mechanism(nominal_size=4, batch_size=2, noise_multiplier=1.0)
    sums = mechanism.noisy_sums(engine(canaries([], 2000)))["output.weight"]
    assert np.std(sums) == pytest.approx(math.sqrt(2), rel=0.2)
