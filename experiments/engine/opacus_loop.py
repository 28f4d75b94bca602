"""Opacus' own DP-SGD in a client loop, in each of its modes; its noise is Torch's, which is no secret.

Samples are Poisson, as ours; the module is wrapped once and gets the base model's numbers for every client.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from opacus.grad_sample import (
    GradSampleModule,
    GradSampleModuleExpandedWeights,
    GradSampleModuleFastGradientClipping,
)
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import nn

from experiments.engine.workloads import BATCH, BOUND, NOISE, RATE

MODES: Final = ("hooks", "ew", "ghost")


class OpacusLoop:
    """Trains clients one after the other with one of Opacus' modes."""

    def __init__(self, module: nn.Module, rows: Sequence[tuple[torch.Tensor, torch.Tensor]], mode: str) -> None:
        self._rows, self._mode = rows, mode
        loss = nn.CrossEntropyLoss()
        wrapped: Any = {
            "hooks": GradSampleModule, "ew": GradSampleModuleExpandedWeights,
            "ghost": lambda inner: GradSampleModuleFastGradientClipping(inner, max_grad_norm=BOUND),
        }[mode](module)  # fmt: skip
        optimizer = torch.optim.SGD(wrapped.parameters(), lr=RATE)
        kind = DPOptimizerFastGradientClipping if mode == "ghost" else DPOptimizer
        self._optimizer = kind(optimizer, noise_multiplier=NOISE, max_grad_norm=BOUND, expected_batch_size=BATCH)
        self._loss: Any = DPLossFastGradientClipping(wrapped, self._optimizer, loss) if mode == "ghost" else loss
        self._module = wrapped

    def total(self, base: torch.Tensor, clients: Sequence[int]) -> torch.Tensor:
        """Return the sum of the clients' updates."""
        parameters: list[torch.Tensor] = list(self._module.parameters())
        pieces = torch.split(base, [each.numel() for each in parameters])
        starts = [piece.view_as(each) for piece, each in zip(pieces, parameters, strict=True)]
        total = [torch.zeros_like(each) for each in parameters]
        for client in clients:
            with torch.no_grad():
                torch._foreach_copy_(parameters, starts)
            x, y = self._rows[client]
            steps = -(-len(y) // BATCH)
            for _ in range(steps):
                self._step(x, y, torch.rand(len(y)) < 1 / steps)
            with torch.no_grad():
                torch._foreach_add_(total, parameters)
                torch._foreach_sub_(total, starts)
        return torch.cat([each.flatten() for each in total])

    def _step(self, x: torch.Tensor, y: torch.Tensor, chosen: torch.Tensor) -> None:
        self._optimizer.zero_grad()
        loss = self._loss(self._module(x[chosen]), y[chosen])
        loss.backward()
        self._optimizer.step()
