"""Metrics against their definitions and against scikit-free brute force."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.training.evaluation import accuracy, auprc, auroc, evaluate, predict
from fedchain.adapters.training.models import initial
from fedchain.core.errors import InputError

pairs = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30)


def arrays(rows: list[tuple[int, bool]]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    return np.array([score for score, _ in rows], np.float64), np.array([label for _, label in rows], np.float32)


@given(rows=pairs)
def test_auroc_is_the_share_of_pairs_in_order_with_ties_counted_half(rows: list[tuple[int, bool]]) -> None:
    positive = [score for score, label in rows if label]
    negative = [score for score, label in rows if not label]
    wins = sum((p > n) + (p == n) / 2 for p in positive for n in negative)
    expected = wins / (len(positive) * len(negative)) if positive and negative else None
    assert auroc(*arrays(rows)) == (None if expected is None else pytest.approx(expected, abs=1e-12))


@given(rows=pairs)
def test_auprc_is_precision_over_the_recall_gained_at_each_threshold(rows: list[tuple[int, bool]]) -> None:
    positives = sum(label for _, label in rows)
    expected = 0.0
    for threshold in sorted({score for score, _ in rows}, reverse=True):
        taken = [label for score, label in rows if score >= threshold]
        gained = sum(label for score, label in rows if score == threshold)
        expected += sum(taken) / len(taken) * gained / max(positives, 1)
    result = auprc(*arrays(rows))
    assert result == (pytest.approx(expected, abs=1e-12) if 0 < positives < len(rows) else None)


@given(rows=pairs)
def test_auroc_of_reversed_scores_is_the_rest(rows: list[tuple[int, bool]]) -> None:
    scores, labels = arrays(rows)
    one, other = auroc(scores, labels), auroc(-scores, labels)
    assert (one is None and other is None) or (one is not None and other == pytest.approx(1 - one))


def test_accuracy_counts_the_right_side_of_zero() -> None:
    assert accuracy(np.array([-1.0, 0.0, 2.0, 3.0]), np.array([0, 1, 1, 0], np.float32)) == 0.5


def test_one_class_has_no_ranking_but_an_accuracy() -> None:
    metrics = evaluate(np.array([1.0, -1.0]), np.ones(2, np.float32))
    assert (metrics.rows, metrics.accuracy, metrics.auroc, metrics.auprc) == (2, 0.5, None, None)


def test_predictions_are_the_logits_of_the_model() -> None:
    tensors = {"output.weight": np.array([[2.0, -1.0]]), "output.bias": np.array([0.5])}
    rows = np.array([[1, 1], [0, 3]], np.float32)
    assert predict("logistic", {"inputs": "2"}, tensors, rows).tolist() == [1.5, -2.5]


def test_tensors_of_another_model_are_refused() -> None:
    with pytest.raises(InputError):
        predict("logistic", {"inputs": "3"}, initial("logistic", {"inputs": "2"}, 0), np.zeros((1, 3), np.float32))
