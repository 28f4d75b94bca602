"""The losses of local training, for each record by itself, and their slope at the model's outputs in closed form."""

from __future__ import annotations

from enum import StrEnum

import torch
from torch import nn


class Loss(StrEnum):
    """What a record's outputs are compared with its label by."""

    BINARY = "binary"
    """Cross entropy of one logit (records,) against labels (records,) in {0, 1}."""

    CLASSES = "classes"
    """Cross entropy of logits (records, classes) against labels (records,), whole numbers from 0."""


def per_record(loss: Loss, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return each record's loss, (records,)."""
    if loss is Loss.BINARY:
        return nn.functional.binary_cross_entropy_with_logits(outputs, labels, reduction="none")
    return nn.functional.cross_entropy(outputs, labels.long(), reduction="none")


def slope(loss: Loss, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the derivative of each record's loss by its logits.

    Args:
        loss: which loss.
        logits: (clients, records, outputs), one output for `BINARY`.
        labels: (clients, records).
    """
    if loss is Loss.BINARY:
        return torch.sigmoid(logits).sub_(labels.unsqueeze(2))
    chosen = labels.long().unsqueeze(2)
    return torch.softmax(logits, 2).scatter_add_(2, chosen, torch.full_like(chosen, -1, dtype=logits.dtype))
