"""The noise of many clients' DP-SGD steps, each from the client's own secret stream, drawn some steps at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch

from fedchain.adapters.training.engine.recipe import Job
from fedchain.adapters.training.secret_stream import SecretStream, fill_normals

_HELD: Final = 1 << 20
"""Normals drawn ahead, over all clients: more calls of the cipher below it, more memory above."""


class StepNoise:
    """Standard normals for each step of each client."""

    __slots__ = ("_drawn", "_left", "_streams")

    def __init__(self, streams: Sequence[SecretStream], parameters: int, steps: int, dtype: torch.dtype) -> None:
        ahead = min(steps, max(1, _HELD // (len(streams) * parameters)))
        self._streams = streams
        self._drawn = torch.empty(len(streams), ahead, parameters, dtype=dtype)
        self._left = 0

    def next(self) -> torch.Tensor:
        """Return the next step's normals, (clients, parameters); they are overwritten later."""
        if self._left == 0:
            fill_normals(self._streams, self._drawn.flatten(1))
            self._left = self._drawn.shape[1]
        self._left -= 1
        return self._drawn[:, self._left]


def private_rates(job: Job) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what a clipped sum and what a normal is multiplied with at each client's step, (clients,) each.

    A step is learning_rate * (sum + noise_multiplier * max_grad_norm * normal) / (nominal size * sample rate).
    """
    recipe = job.recipe
    per_sum = [recipe.learning_rate / part.expected_batch for part in job.parts]
    per_normal = [
        each * part.noise_multiplier * recipe.max_grad_norm for each, part in zip(per_sum, job.parts, strict=True)
    ]
    return torch.tensor(per_sum, dtype=recipe.dtype), torch.tensor(per_normal, dtype=recipe.dtype)


def still_stepping(job: Job, step: int) -> torch.Tensor:
    """Return 1 for each client that takes step number `step` (from 0) and 0 for the others, (clients,)."""
    return torch.tensor([float(step < part.steps) for part in job.parts], dtype=job.recipe.dtype)
