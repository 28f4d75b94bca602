"""Privacy auditing with one training run (Steinke, Nasr and Jagielski, NeurIPS 2023).

2,000 canaries, each put in by a coin; from the update alone an attacker guesses for 400 of them whether they were in.
Many right guesses prove a lower bound of epsilon; above the claim, the claim is false. The audit sees missing noise or
clipping; it does not see half the noise, which is what the calibration test is for.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy import stats

from fedchain.adapters.training.accounting import PrvAccountant
from tests.privacy.engines import ON_EACH_ENGINE, TrainerOf
from tests.privacy.synthetic import DELTA, Mechanism, canaries

CANARIES = 2000
GUESSES = 400
CONFIDENCE = 0.95
STEPS = 5


def p_value(right: int, epsilon: float) -> float:
    """Return how likely so many right guesses are under (epsilon, DELTA)-DP: theorem 5.2 of the paper."""
    rate = 1 / (1 + np.exp(-epsilon))
    excess = np.cumsum(stats.binom.pmf(right - np.arange(1, right + 1), GUESSES, rate))
    alpha = float(np.max(excess / np.arange(1, right + 1), initial=0.0))
    return min(1.0, float(stats.binom.sf(right - 1, GUESSES, rate)) + alpha * DELTA * 2 * CANARIES)


def lower_bound(right: int) -> float:
    """Return the largest epsilon, to 0.001, that is refuted at `CONFIDENCE`; 0 if none is."""
    low, high = 0.0, 50.0
    while high - low > 0.001:
        middle = (low + high) / 2
        if p_value(right, middle) < 1 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return low


@functools.cache
def noise_for(epsilon: float) -> float:
    noise = PrvAccountant().calibrate(epsilon=epsilon, delta=DELTA, batches_per_epoch=1, steps=STEPS)
    return noise / 1e6


def right_guesses(noise_multiplier: float, engine: TrainerOf) -> int:
    coins = np.random.default_rng(2023).integers(0, 2, CANARIES).astype(bool)
    mechanism = Mechanism(CANARIES, CANARIES, noise_multiplier, epochs=STEPS)
    sums = mechanism.noisy_sums(engine(canaries(np.flatnonzero(coins), CANARIES)))["output.weight"].ravel()
    order = np.argsort(sums)  # a canary that is in pulls its coordinate down
    guessed_in, guessed_out = order[: GUESSES // 2], order[-GUESSES // 2 :]
    return int(coins[guessed_in].sum() + (~coins[guessed_out]).sum())


@ON_EACH_ENGINE
@pytest.mark.parametrize("claimed", [1.0, 3.0])
def test_what_an_attacker_can_prove_stays_below_the_claim(claimed: float, engine: TrainerOf) -> None:
    assert lower_bound(right_guesses(noise_for(claimed), engine)) < claimed


@ON_EACH_ENGINE
def test_the_attack_is_strong_enough_to_refute_a_claim_of_3_where_the_truth_is_20(engine: TrainerOf) -> None:
    assert lower_bound(right_guesses(noise_for(20.0), engine)) > 3


def test_certain_guesses_refute_and_coin_flips_prove_nothing() -> None:
    assert lower_bound(GUESSES) > 3
    assert lower_bound(GUESSES // 2) == 0
