"""Plain SGD of one client after the other: what every module can do, and the fastest for convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedchain.adapters.training.engine.batches import own_batches
from fedchain.adapters.training.engine.recipe import Job, load
from fedchain.adapters.training.losses import mean, targets_of
from fedchain.adapters.training.modules import seeded


def train(job: Job, out: torch.Tensor) -> None:
    """Write the update of each part into its row of `out`."""
    recipe, module = job.recipe, job.module
    parameters: list[torch.Tensor] = list(module.parameters())
    for part, row in zip(job.parts, out, strict=True):
        load(module, job.base)
        x, y = job.rows[part.client]
        targets = targets_of(recipe.loss, y)
        with seeded(part.order):  # as the site's own trainer has it, for dropout
            for rows in own_batches(job, part):
                batch = torch.from_numpy(rows)
                outputs = module(x.index_select(0, batch))
                loss = mean(recipe.loss, outputs, targets.index_select(0, batch))
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
                pull_back(parameters, job.base, recipe.pull)
                step(parameters, gradients, recipe.learning_rate)
        read(parameters, job.base, row)


def step(parameters: list[torch.Tensor], gradients: tuple[torch.Tensor, ...], rate: float) -> None:
    """Move parameters against gradients."""
    with torch.no_grad():
        torch._foreach_add_(parameters, gradients, alpha=-rate)


def pull_back(parameters: Sequence[torch.Tensor], base: torch.Tensor, share: float) -> None:
    """Move parameters towards the base, by a share of the way: FedProx's proximal term."""
    if share:
        pieces = torch.split(base, [each.numel() for each in parameters])
        with torch.no_grad():
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.lerp_(piece.view_as(parameter), share)


def read(parameters: Sequence[torch.Tensor], base: torch.Tensor, row: torch.Tensor) -> None:
    """Write trained minus base into `row`."""
    with torch.no_grad():
        start = 0
        for each in parameters:
            end = start + each.numel()
            torch.sub(each.reshape(-1), base[start:end], out=row[start:end])
            start = end
