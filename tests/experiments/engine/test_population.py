"""Clients that are only registered cost nothing."""

from __future__ import annotations

import numpy as np

from experiments.engine.population import TRAINING, Population, measure, measure_recorded, trained
from experiments.engine.workloads import named
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial


def test_a_billion_registered_clients_take_no_memory_and_two_of_them_train() -> None:
    line = measure(10**9, 2, 1)
    assert (line.registered, line.cohort) == (10**9, 2)
    assert line.peak_mb - line.before_mb < 100


def test_a_client_has_the_same_rows_whenever_it_is_asked_for_and_others_have_others() -> None:
    population = Population(named("W1a"), 10)
    assert population["c3"].train_x.shape == (128, 13)
    assert np.array_equal(population["c3"].train_x, population["c3"].train_x)
    assert not np.array_equal(population["c3"].train_x, population["c4"].train_x)
    assert "c9" in population
    assert "c10" not in population


def test_a_round_moves_the_model_by_the_mean() -> None:
    model = initial("mlp", TRAINING.model_options, TRAINING.seed)
    engine = CohortEngine(Population(named("W1a"), 10), is_resident=False)
    both, one, other = (trained(engine, model, names, 1) for names in (["c1", "c2"], ["c1"], ["c2"]))
    for name in model:
        np.testing.assert_allclose(both[name], (one[name] + other[name]) / 2, rtol=1e-10, atol=1e-13)


def test_a_recorded_run_of_a_population_verifies_and_takes_no_memory_for_those_who_are_not_drawn() -> None:
    few, many = (measure_recorded(registered, 4, 2) for registered in (8, 100_000))
    assert (few.verified, many.verified) == (8, 8)
    assert many.peak_mb - many.before_mb < 100
