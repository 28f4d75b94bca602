"""The loss of each task, summed over the rows, and what a model has to put out for it."""

from __future__ import annotations

import torch
from torch.nn import functional

from fedchain.core.errors import InputError


def summed_loss(task: str, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of the rows' losses: logistic for "binary", cross-entropy for "multiclass", squares for others.

    Args:
        task: "binary", "multiclass" or "regression".
        outputs: one number a row, (n,) or (n, 1); for "multiclass" one logit a class, (n, classes).
        labels: 0 and 1, the number of the class, or the number wanted, (n,).

    Raises:
        InputError: if the outputs have another shape, or a label is no class.
    """
    if task == "multiclass":
        return functional.cross_entropy(outputs, _classes(outputs, labels), reduction="sum")
    numbers = one_a_row(outputs, len(labels))
    if task == "binary":
        return functional.binary_cross_entropy_with_logits(numbers, labels, reduction="sum")
    return functional.mse_loss(numbers, labels, reduction="sum")


def one_a_row(outputs: torch.Tensor, rows: int) -> torch.Tensor:
    """Return outputs of one number a row as (n,).

    Raises:
        InputError: if they have another shape.
    """
    if tuple(outputs.shape) not in ((rows,), (rows, 1)):
        raise InputError(
            "the model's output", expected=f"one number a row, ({rows},) or ({rows}, 1)", got=tuple(outputs.shape),
            remedy="for several classes choose model.task=multiclass",
        )  # fmt: skip
    return outputs.reshape(rows)


def _classes(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    if outputs.ndim != 2 or len(outputs) != len(labels):
        raise InputError(
            "the model's output", expected=f"one logit a class, ({len(labels)}, classes)", got=tuple(outputs.shape)
        )
    classes = labels.long()
    if len(labels) and not (bool((classes == labels).all()) and 0 <= int(classes.min()) <= int(classes.max())):
        raise InputError("labels", expected="whole numbers from 0 on", got=f"{float(labels.min())} and others")
    if len(labels) and int(classes.max()) >= outputs.shape[1]:
        raise InputError("labels", expected=f"classes below the model's {outputs.shape[1]}", got=int(classes.max()))
    return classes
