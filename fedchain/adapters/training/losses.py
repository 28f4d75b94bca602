"""The losses of local training, for each record by itself, and their slope at the model's outputs in closed form."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch.nn import functional

from fedchain.core.errors import InputError


class Loss(StrEnum):
    """What a record's outputs are compared with its label by; the values are the tasks' names."""

    BINARY = "binary"
    """Cross entropy of one logit, (records,) or (records, 1), against labels (records,) in {0, 1}."""

    CLASSES = "multiclass"
    """Cross entropy of logits (records, classes) against labels (records,), whole numbers from 0."""

    SQUARES = "regression"
    """The square of what one number, (records,) or (records, 1), is off by."""


def per_record(loss: Loss, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return each record's loss, (records,)."""
    if loss is Loss.CLASSES:
        return functional.cross_entropy(outputs, labels.long(), reduction="none")
    numbers = outputs.reshape(labels.shape)
    if loss is Loss.BINARY:
        return functional.binary_cross_entropy_with_logits(numbers, labels, reduction="none")
    return functional.mse_loss(numbers, labels, reduction="none")


def targets_of(loss: Loss, labels: torch.Tensor) -> torch.Tensor:
    """Return labels in the type in which `mean` wants them."""
    return labels.long() if loss is Loss.CLASSES else labels


def mean(loss: Loss, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean of the records' losses, in one step; targets are those of `targets_of`."""
    if loss is Loss.CLASSES:
        return functional.cross_entropy(outputs, targets)
    numbers = outputs.reshape(targets.shape)
    if loss is Loss.BINARY:
        return functional.binary_cross_entropy_with_logits(numbers, targets)
    return functional.mse_loss(numbers, targets)


def slope(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the derivative of each record's loss by its logits.

    Args:
        loss: which loss.
        logits: (clients, records, outputs), one output but for `CLASSES`.
        labels: (clients, records).
    """
    if loss is Loss.BINARY:
        return torch.sigmoid(logits).sub_(labels.unsqueeze(2))
    if loss is Loss.SQUARES:
        return (logits - labels.unsqueeze(2)).mul_(2.0)
    chosen = labels.long().unsqueeze(2)
    return torch.softmax(logits, 2).scatter_add_(2, chosen, torch.full_like(chosen, -1, dtype=logits.dtype))


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
        return functional.cross_entropy(outputs, classes_of(outputs, labels), reduction="sum")
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


def classes_of(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return labels as the numbers of classes.

    Raises:
        InputError: if the outputs have another shape than (n, classes), or a label is none of the classes.
    """
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
