"""How well a model ranks and classifies rows: AUROC, AUPRC and accuracy, exact and without sampling.

AUROC is the Mann-Whitney statistic, ties by mid-rank; AUPRC is average precision, the sum over thresholds of precision
times the recall gained there (Davis and Goadrich, ICML 2006). Where a class is absent neither is defined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from fedchain.adapters.datasets.partition import Floats
from fedchain.adapters.training.models import build
from fedchain.core.tensors import FloatTensors

Scores: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Quality over `rows` rows; `auroc` and `auprc` are None where only one class is present."""

    rows: int
    accuracy: float
    auroc: float | None
    auprc: float | None


def predict(model: str, options: Mapping[str, str], tensors: FloatTensors, rows: Floats) -> Scores:
    """Return the logit of the positive class for each row, (rows,); above 0 the model says positive.

    Raises:
        InputError: if the tensors are not the model's.
    """
    module = build(model, options, tensors)
    with torch.no_grad():
        logits: Scores = module(torch.from_numpy(rows).double()).numpy()
    return logits


def evaluate(logits: Scores, labels: Floats) -> Metrics:
    """Return the metrics of logits (rows,) against labels (rows,) in {0, 1}."""
    return Metrics(
        rows=len(labels), accuracy=accuracy(logits, labels), auroc=auroc(logits, labels), auprc=auprc(logits, labels)
    )


def accuracy(logits: Scores, labels: Floats) -> float:
    """Return the share of rows on the right side of logit 0."""
    return float(np.mean((logits > 0) == (labels > 0)))


def auroc(scores: Scores, labels: Floats) -> float | None:
    """Return the probability that a positive row scores above a negative one, ties counting half."""
    positive = labels > 0
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    twice_mid_rank = 2 * np.cumsum(counts) - counts + 1
    twice_wins = int(twice_mid_rank[places[positive]].sum()) - positives * (positives + 1)
    return twice_wins / (2 * positives * negatives)


def auprc(scores: Scores, labels: Floats) -> float | None:
    """Return the average precision; rows of one score are taken together."""
    positive = labels > 0
    positives = int(positive.sum())
    if not positives or positives == len(labels):
        return None
    _, places, counts = np.unique(-scores, return_inverse=True, return_counts=True)
    found = np.bincount(places, weights=positive, minlength=len(counts))
    precision = np.cumsum(found) / np.cumsum(counts)
    return float((precision * found).sum() / positives)
