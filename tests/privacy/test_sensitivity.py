"""Sensitivity: one record more or less moves the clipped sum by at most C, whatever its gradient is."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from fedchain.adapters.training.clipping import clipped_sum
from tests.privacy.engines import ON_EACH_ENGINE, TrainerOf
from tests.privacy.synthetic import Mechanism, partition_of

WEIGHTS, BIASES = 5, 2
Gradients = npt.NDArray[np.float64]
hostile = st.floats(width=64) | st.sampled_from([0.0, -0.0, 5e-324, 1e308, -1e308, math.inf, -math.inf, math.nan])
gradients = npst.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(WEIGHTS + BIASES)), elements=hostile)
bounds = st.floats(1e-3, 1e3)


def clipped(records: Gradients, bound: float) -> Gradients:
    """The clipped sum of a layer with a (5, 1) weight and a (2,) bias, flattened."""
    weights = torch.from_numpy(records[:, :WEIGHTS].reshape(-1, WEIGHTS, 1).copy())
    biases = torch.from_numpy(records[:, WEIGHTS:].copy())
    return np.concatenate([each.numpy().ravel() for each in clipped_sum([weights, biases], bound)])


def norm(vector: Gradients) -> float:
    return math.sqrt(math.fsum(float(value) ** 2 for value in vector))


def opposed(size: float) -> Gradients:
    return np.array([[size] + [0.0] * (WEIGHTS + BIASES - 1), [-10 * size] + [0.0] * (WEIGHTS + BIASES - 1)])


@given(records=gradients, bound=bounds)
@example(records=opposed(1.0), bound=1.0)
@example(records=opposed(1e300), bound=1.0)
@example(records=np.full((2, WEIGHTS + BIASES), 1e154), bound=1.0)
@example(records=np.full((2, WEIGHTS + BIASES), np.nan), bound=1.0)
def test_one_record_moves_the_sum_by_at_most_the_bound(records: Gradients, bound: float) -> None:
    difference = clipped(records, bound) - clipped(records[:-1], bound)
    assert norm(difference) <= bound


@given(records=gradients, bound=bounds)
def test_the_sum_is_finite_and_bounded_by_the_number_of_records(records: Gradients, bound: float) -> None:
    total = clipped(records, bound)
    assert np.isfinite(total).all()
    assert norm(total) <= bound * len(records)


@given(record=npst.arrays(np.float64, (1, WEIGHTS + BIASES), elements=st.floats(-1e-2, 1e-2)))
def test_a_small_gradient_is_not_changed(record: Gradients) -> None:
    np.testing.assert_array_equal(clipped(record, 1.0), record[0])


def test_a_large_gradient_keeps_its_direction_and_gets_the_norm_of_the_bound() -> None:
    record = np.array([[3.0, 0.0, 0.0, 0.0, 0.0, 4.0, 0.0]])
    np.testing.assert_allclose(clipped(record, 0.5), record[0] / 10, rtol=1e-8)


def test_the_bound_holds_over_all_parameters_together_not_for_each() -> None:
    assert norm(clipped(np.full((1, WEIGHTS + BIASES), 7.0), 1.0)) <= 1.0


def test_a_record_that_is_not_finite_counts_as_zero_and_the_others_count_in_full() -> None:
    fine = np.eye(WEIGHTS + BIASES)[:2] / 2
    for value in (math.nan, math.inf, -math.inf):
        spoiled = np.vstack([fine, np.full((1, WEIGHTS + BIASES), value)])
        np.testing.assert_array_equal(clipped(spoiled, 1.0), clipped(fine, 1.0))


@ON_EACH_ENGINE
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 3e38, -3e38])
def test_a_hostile_row_leaves_the_update_finite_and_the_noise_in_it(value: float, engine: TrainerOf) -> None:
    rows = np.vstack([np.zeros((3, 500)), np.full((1, 500), value)])
    mechanism = Mechanism(nominal_size=4, batch_size=4, noise_multiplier=1.0)
    sums = mechanism.noisy_sums(engine(partition_of(rows, np.ones(4))))["output.weight"]
    assert np.isfinite(sums).all()
    assert norm(sums.ravel()) == pytest.approx(math.sqrt(500), rel=0.25)
