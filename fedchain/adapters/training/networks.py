"""Networks that come with fedchain as targets, for `model.name=custom`: all of layers that privacy can train."""

from __future__ import annotations

import torch
from torch import nn


def cnn(channels: int, length: int, outputs: int = 1, width: int = 16) -> nn.Module:
    """Return a 1-D CNN over rows (channels, length) with GroupNorm, which treats each record by itself.

    Two convolutions over five steps with `width` filters, each halved by pooling, then one linear layer.
    """
    return nn.Sequential(
        nn.Conv1d(channels, width, 5, padding=2),
        nn.GroupNorm(4, width),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Conv1d(width, width, 5, padding=2),
        nn.GroupNorm(4, width),
        nn.ReLU(),
        nn.MaxPool1d(2),
        nn.Flatten(),
        nn.Linear(width * (length // 4), outputs),
    )


def linear(inputs: int, seed: int) -> nn.Module:
    """Return logistic regression that starts where torch starts it at a seed, as FLamby's benchmark does."""
    torch.manual_seed(seed)
    return nn.Linear(inputs, 1)
