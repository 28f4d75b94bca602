"""The best round and the end of patience, against what a person would say of the values."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.progress import IS_HIGHER_BETTER, METRICS_OF, Goal, best_round, is_enough

VALUES = st.lists(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), max_size=12)


def by_round(*values: float) -> dict[int, float]:
    return dict(enumerate(values, start=1))


def test_every_metric_of_every_task_says_which_way_is_better() -> None:
    assert {metric for metrics in METRICS_OF.values() for metric in metrics} == set(IS_HIGHER_BETTER)


@pytest.mark.parametrize(("metric", "best"), [("auroc", 2), ("rmse", 1)])
def test_the_best_round_is_the_earliest_of_the_best(metric: str, best: int) -> None:
    assert best_round(Goal(metric), by_round(0.5, 0.9, 0.9, 0.5)) == best


def test_a_value_that_is_no_number_is_never_best() -> None:
    assert best_round(Goal("rmse"), {1: math.nan}) is None
    assert best_round(Goal("rmse"), by_round(math.nan, 2.0, math.nan)) == 2
    assert best_round(Goal("auroc"), {}) is None


@pytest.mark.parametrize(
    ("metric", "values", "end"),
    [
        ("auroc", (0.5, 0.6, 0.6, 0.55), 4),
        ("auroc", (0.5, 0.4, 0.51, 0.4, 0.6, 0.1, 0.6), 7),
        ("rmse", (3.0, 2.0, 2.0, 2.5), 4),
        ("rmse", (3.0, 2.9, 2.8, 2.7), None),
    ],
)
def test_patience_ends_after_two_rounds_that_were_no_better(
    metric: str, values: tuple[float, ...], end: int | None
) -> None:
    ends = [n for n in range(1, len(values) + 1) if is_enough(Goal(metric, 2), by_round(*values[:n]))]
    assert ends == ([] if end is None else list(range(end, len(values) + 1)))


def test_small_steps_add_up_against_the_last_value_that_counted() -> None:
    steps = by_round(0.50, 0.54, 0.58, 0.62)
    assert is_enough(Goal("auroc", 1, 0.05), steps)
    assert not is_enough(Goal("auroc", 2, 0.05), steps)  # .58 is more than .05 above .50


@given(VALUES)
def test_no_patience_is_for_ever(values: list[float]) -> None:
    assert not is_enough(Goal("auroc", 0), by_round(*values))


@given(VALUES, st.integers(1, 4))
def test_once_enough_is_always_enough(values: list[float], patience: int) -> None:
    goal = Goal("auroc", patience)
    answers = [is_enough(goal, by_round(*values[:n])) for n in range(len(values) + 1)]
    assert answers == sorted(answers)


def test_the_reason_names_metric_margin_and_rounds() -> None:
    assert Goal("auroc", 1).words == "no better auroc for 1 round"
    assert Goal("rmse", 3, 0.01).words == "no better rmse by more than 0.01 for 3 rounds"
