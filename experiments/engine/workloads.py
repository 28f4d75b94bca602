"""The workloads: made-up rows of fixed shapes, the same for every engine. Nothing here knows fedchain.

W1a: 100 of 500 clients, 128 rows each, MLP 13-64-2. W1b: the same with McMahan's 2NN, 784-200-200-10. W2: 10 clients
with 2,000 windows (9, 128) each, a convolutional net. One local epoch, batch 32, SGD 0.1, cross entropy, float32; with
noise of the clipping norm where training is private.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import nn

BATCH: Final = 32
RATE: Final = 0.1
NOISE: Final = 1.0
"""DP-SGD's noise multiplier."""

BOUND: Final = 1.0
"""DP-SGD's clipping norm."""


@dataclass(frozen=True, slots=True)
class Workload:
    """So many clients of `registered` a round, with `rows` rows of a shape each; `model` names a function below."""

    name: str
    registered: int
    cohort: int
    rows: int
    shape: tuple[int, ...]
    classes: int
    model: str

    def made_quick(self) -> Workload:
        """Return a tenth of the work, to see that everything runs."""
        cohort = max(2, self.cohort // 10)
        return replace(self, registered=cohort, cohort=cohort, rows=min(self.rows, 256))

    def data(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return the clients' rows and labels."""
        generator = torch.Generator().manual_seed(1)
        return [
            (
                torch.randn(self.rows, *self.shape, generator=generator),
                torch.randint(0, self.classes, (self.rows,), generator=generator),
            )
            for _ in range(self.registered)
        ]

    def module(self) -> nn.Module:
        """Return the model, the same numbers each time."""
        torch.manual_seed(2)
        return MODELS[self.model]({})


def small(_options: Mapping[str, str]) -> nn.Module:
    """Return the MLP of W1a: 1,026 parameters."""
    return nn.Sequential(nn.Linear(13, 64), nn.ReLU(), nn.Linear(64, 2))


def wide(_options: Mapping[str, str]) -> nn.Module:
    """Return the 2NN of W1b: 199,210 parameters."""
    return nn.Sequential(
        nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)
    )  # fmt: skip


def convolution(_options: Mapping[str, str]) -> nn.Module:
    """Return the net of W2: 58,492 parameters."""
    return nn.Sequential(
        nn.Conv1d(9, 32, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(32, 64, 5, padding=2), nn.ReLU(),
        nn.AvgPool1d(8), nn.Flatten(), nn.Linear(512, 90), nn.ReLU(), nn.Linear(90, 6),
    )  # fmt: skip


MODELS: Final = {"small": small, "wide": wide, "convolution": convolution}
WORKLOADS: Final = (
    Workload("W1a", 500, 100, 128, (13,), 2, "small"),
    Workload("W1b", 500, 100, 128, (784,), 10, "wide"),
    Workload("W2", 10, 10, 2000, (9, 128), 6, "convolution"),
)


def named(name: str) -> Workload:
    """Return a workload."""
    return next(each for each in WORKLOADS if each.name == name)
