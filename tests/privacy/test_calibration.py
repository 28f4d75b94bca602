"""White box: the noise in an update has the charged standard deviation, to two per cent, at every coordinate.

A linear layer with eight Dirac canaries: their clipped gradients are known exactly, so what is left of the update is
the noise, and its sum of squares over 400,001 coordinates is chi-square. A deviation wrong by a tenth has p < 1e-130.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tests.privacy.engines import ON_EACH_ENGINE, TrainerOf
from tests.privacy.synthetic import BRIGHT, Mechanism, canaries

INPUTS = 400_000
CANARIES = 8


@ON_EACH_ENGINE
@pytest.mark.parametrize(
    "mechanism",
    [
        Mechanism(nominal_size=CANARIES, batch_size=CANARIES, noise_multiplier=1.0),
        Mechanism(nominal_size=CANARIES, batch_size=CANARIES, noise_multiplier=0.5, max_grad_norm=3.0),
        Mechanism(nominal_size=CANARIES, batch_size=CANARIES, noise_multiplier=2.5, max_grad_norm=0.1, epochs=2),
    ],
    ids=["one step", "loose clipping", "two steps"],
)
def test_noise_per_coordinate_is_what_was_charged(mechanism: Mechanism, engine: TrainerOf) -> None:
    steps, bound = mechanism.release.steps, mechanism.max_grad_norm
    sums = mechanism.noisy_sums(engine(canaries(range(CANARIES), INPUTS)))
    length = math.hypot(BRIGHT, 1.0)
    signal = np.zeros(INPUTS)
    signal[:CANARIES] = -bound * BRIGHT / length * steps
    bias = -bound * CANARIES / length * steps
    noise = np.append(sums["output.weight"].ravel() - signal, sums["output.bias"] - bias)
    deviation = mechanism.noise_multiplier * bound * math.sqrt(steps)
    chi_square = float(np.sum((noise / deviation) ** 2))
    assert math.sqrt(chi_square / noise.size) == pytest.approx(1.0, abs=0.02)
    p_value = 2 * min(stats.chi2.cdf(chi_square, noise.size), stats.chi2.sf(chi_square, noise.size))
    assert p_value > 1e-9


@ON_EACH_ENGINE
def test_canaries_show_at_the_clipping_norm_and_nothing_else_does(engine: TrainerOf) -> None:
    mechanism = Mechanism(nominal_size=CANARIES, batch_size=CANARIES, noise_multiplier=0.3, epochs=400)
    sums = mechanism.noisy_sums(engine(canaries(range(CANARIES), 2 * CANARIES)))["output.weight"].ravel()
    mean = sums / mechanism.release.steps
    np.testing.assert_allclose(mean[:CANARIES], -1.0, atol=0.15)
    np.testing.assert_allclose(mean[CANARIES:], 0.0, atol=0.15)


@ON_EACH_ENGINE
def test_the_divisor_is_the_public_batch_whatever_the_rows_are(engine: TrainerOf) -> None:
    mechanism = Mechanism(nominal_size=100, batch_size=100, noise_multiplier=0.3, epochs=400)
    sums = mechanism.noisy_sums(engine(canaries(range(5), 10)))["output.weight"].ravel()
    np.testing.assert_allclose(sums[:5] / mechanism.release.steps, -1.0, atol=0.15)
