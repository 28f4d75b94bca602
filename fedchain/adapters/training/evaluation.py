"""How well a model does its task on rows, exact and without sampling.

"binary": AUROC, AUPRC and accuracy. "multiclass": accuracy and the log loss of a row. "regression": RMSE and MAE.

AUROC is the Mann-Whitney statistic, ties by mid-rank; AUPRC is average precision, the sum over thresholds of precision
times the recall gained there (Davis and Goadrich, ICML 2006). Where a class is absent neither is defined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from fedchain.adapters.datasets.partition import Floats
from fedchain.adapters.training.models import build
from fedchain.adapters.training.modules import NO_MAKERS, Makers
from fedchain.adapters.training.trainer import single_threaded
from fedchain.core.tensors import FloatTensors

RARE: Final = 0.05
"""Share of the rarer class below which accuracy says nothing, since a constant answer has more than 95% of it."""

Scores: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Quality over `rows` rows; `auroc` and `auprc` are None where only one class is present."""

    rows: int
    accuracy: float
    auroc: float | None
    auprc: float | None


def predict(
    model: str, options: Mapping[str, str], tensors: FloatTensors, rows: Floats, makers: Makers = NO_MAKERS
) -> Scores:
    """Return what the model puts out for each row: one number, (rows,), or one logit a class, (rows, classes).

    In a binary task it is the logit of the positive class: above 0 the model says positive.

    Raises:
        InputError: if the tensors are not the model's.
    """
    return scorer(model, options, tensors, makers)(rows)


def scorer(
    model: str, options: Mapping[str, str], tensors: FloatTensors, makers: Makers = NO_MAKERS
) -> Callable[[Floats], Scores]:
    """Return `predict` of one model, which is built once.

    Raises:
        InputError: if the tensors are not the model's.
    """
    module = build(model, options, tensors, makers).eval()

    def score(rows: Floats) -> Scores:
        with single_threaded(), torch.no_grad():
            outputs: Scores = module(torch.from_numpy(rows).double()).numpy()
        return outputs

    return score


def measures(task: str, outputs: Scores, labels: Floats) -> dict[str, float]:
    """Return the metrics of a task that are defined for these rows, by name, with their number as "rows"."""
    if task == "multiclass":
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        chosen = shifted[np.arange(len(labels)), labels.astype(np.intp)]
        log_loss = float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - chosen))
        right = float(np.mean(outputs.argmax(axis=1) == labels))
        return {"rows": float(len(labels)), "accuracy": right, "log_loss": log_loss}
    numbers = outputs.reshape(len(labels))
    if task == "regression":
        errors = numbers - labels.astype(np.float64)
        return {
            "rows": float(len(labels)),
            "rmse": float(np.sqrt(np.mean(errors**2))),
            "mae": float(np.mean(np.abs(errors))),
        }
    metrics = evaluate(numbers, labels)
    plain = {"rows": float(metrics.rows)}
    share = float(np.mean(labels > 0))
    if min(share, 1 - share) >= RARE:
        plain["accuracy"] = metrics.accuracy
    if metrics.auroc is not None and metrics.auprc is not None:
        plain |= {"auroc": metrics.auroc, "auprc": metrics.auprc}
    return plain


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
