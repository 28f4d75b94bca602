"""Made-up rounds: a recipe, a module and clients with rows, for every execution of the engine."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from fedchain.adapters.training.engine.recipe import Job, Part, Recipe, Rows, flat
from fedchain.adapters.training.losses import Loss
from fedchain.adapters.training.secret_stream import Secret


def mlp(options: Mapping[str, str]) -> nn.Module:
    """A stack of linear layers of the widths in `options["widths"]`."""
    widths = [int(text) for text in options["widths"].split(",")]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def tanh(options: Mapping[str, str]) -> nn.Module:
    """A small net that is no stack: tanh and layer norm."""
    inputs, outputs = (int(text) for text in options["widths"].split(","))
    return nn.Sequential(nn.Linear(inputs, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, outputs))


def convolution(options: Mapping[str, str]) -> nn.Module:
    """A one-dimensional convolution over (3, 16) windows."""
    return nn.Sequential(
        nn.Conv1d(3, 5, 3, padding=1, stride=2), nn.ReLU(), nn.Conv1d(5, 4, 3, dilation=2, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Linear(16, int(options["classes"])),
    )  # fmt: skip


def recipe(
    name: str, options: dict[str, str], *, batch: int = 8, epochs: int = 1, precision: str = "float64"
) -> Recipe:
    return Recipe(f"{__name__}:{name}", options, Loss.CLASSES, batch, epochs, 0.1, 1.0, precision)


def job_of(
    recipe_: Recipe, sizes: Sequence[int], shape: Sequence[int], noise: float = 0.0, secret: Secret = os.urandom
) -> Job:
    """A round of as many clients as there are sizes; with every row in each private step."""
    torch.manual_seed(1)
    module = recipe_.module()
    clients = [(torch.randn(size, *shape), torch.randint(0, 2, (size,))) for size in sizes]
    steps = recipe_.epochs
    parts = [Part(number, f"0/1/{number}", max(1, size), 1, steps, noise) for number, size in enumerate(sizes)]
    base = flat(list(module.parameters()))
    return Job(recipe_, module, Rows.of(clients, recipe_.dtype), base, parts, secret)


def empty(job: Job) -> torch.Tensor:
    return torch.full((len(job.parts), len(job.base)), torch.nan, dtype=job.recipe.dtype)
