"""Which execution trains a job: by the model, by whether it is private, and by how many clients fit into the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from fedchain.adapters.training.engine import bookkeeping, fused, fused_private, loop, vmapped
from fedchain.adapters.training.engine.recipe import Execution, Job, Recipe
from fedchain.adapters.training.engine.stack import shapes_of

FUSED_NUMBERS: Final = 1 << 21
"""Parameters of all clients that are trained side by side: beyond a core's cache, more clients at once cost time."""

VMAPPED_NUMBERS: Final = 1 << 18
RECORD_NUMBERS: Final = 1 << 22
"""Per-record gradients held at once by the generic private execution."""

_VMAPPED: Final = (
    nn.Sequential, nn.Linear, nn.ReLU, nn.GELU, nn.SiLU, nn.Tanh, nn.Sigmoid, nn.ELU, nn.LeakyReLU, nn.LayerNorm,
    nn.GroupNorm, nn.Flatten, nn.Identity,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """An execution by name, and how many clients it takes at once."""

    name: str
    execution: Execution
    clients: int

    def run(self, job: Job, out: torch.Tensor) -> None:
        """Train all parts of the job, some at a time."""
        for piece, rows in job.chunks(self.clients, out):
            self.execution(piece, rows)


def choose(module: nn.Module, recipe: Recipe, *, is_private: bool) -> Choice | None:
    """Return what trains this module fastest; None for a private module that no execution here takes."""
    parameters = sum(each.numel() for each in module.parameters())
    side_by_side = max(1, FUSED_NUMBERS // parameters)
    if shapes_of(module, recipe.loss) is not None:
        return Choice("fused", fused_private.train if is_private else fused.train, side_by_side)
    if is_private and bookkeeping.is_chain(module) and bookkeeping.keeps_books(module):
        return Choice("bookkeeping", bookkeeping.train, 1)
    takes_vmap = type(module) is nn.Sequential and all(type(each) in _VMAPPED for each in module.modules())
    if is_private:
        at_once = max(1, RECORD_NUMBERS // (parameters * 2 * recipe.batch_size))
        return Choice("vmapped", vmapped.train_privately, at_once) if takes_vmap else None
    if takes_vmap and parameters <= VMAPPED_NUMBERS // 8:
        return Choice("vmapped", vmapped.train, max(1, VMAPPED_NUMBERS // parameters))
    return Choice("loop", loop.train, 1)
