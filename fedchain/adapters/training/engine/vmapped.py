"""Clients side by side for any module that torch.func takes: gradients over clients, with DP over records as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch.func import functional_call, grad, vmap

from fedchain.adapters.training.clipping import clip_factors, rounding_of
from fedchain.adapters.training.engine.batches import sampled, shuffled
from fedchain.adapters.training.engine.noise import StepNoise, private_rates, still_stepping
from fedchain.adapters.training.engine.recipe import Job, sizes
from fedchain.adapters.training.losses import per_record
from fedchain.adapters.training.secret_stream import SecretStream

Tensors: TypeAlias = dict[str, torch.Tensor]
Gradients: TypeAlias = Callable[[Tensors, torch.Tensor, torch.Tensor, torch.Tensor], Tensors]


def train(job: Job, out: torch.Tensor) -> None:
    """Run plain SGD; write the update of each part into its row of `out`."""
    gradients: Gradients = vmap(_gradient(job))
    working = job.base.repeat(len(job.parts), 1)
    views = _views(job, working)
    for batch in shuffled(job):
        moves = gradients(views, batch.x, batch.y, batch.weights)
        _pull_back(job, working, batch.stepping())
        _add(job, working, moves, -job.recipe.learning_rate)
    torch.sub(working, job.base, out=out)


def train_privately(job: Job, out: torch.Tensor) -> None:
    """Run DP-SGD; write the update of each part into its row of `out`."""
    streams = [SecretStream(job.secret) for _ in job.parts]
    noise = StepNoise(streams, len(job.base), max(part.steps for part in job.parts), job.recipe.dtype)
    per_sum, per_normal = private_rates(job)
    of_record = vmap(vmap(_gradient(job), in_dims=(None, 0, 0, 0)))
    working = job.base.repeat(len(job.parts), 1)
    views = _views(job, working)
    for step, batch in enumerate(sampled(job, streams)):
        stepping = still_stepping(job, step)
        sums = torch.zeros_like(working)
        if batch.x.shape[1]:
            single = (batch.x.unsqueeze(2), batch.y.unsqueeze(2), torch.ones_like(batch.weights).unsqueeze(2))
            each = [value.detach().flatten(2) for value in of_record(views, *single).values()]
            sums = clipped_sums(each, batch.weights, job.recipe.max_grad_norm)
        _pull_back(job, working, stepping)
        working.sub_(sums * per_sum.unsqueeze(1))
        working.sub_(noise.next() * (per_normal * stepping).unsqueeze(1))
    torch.sub(working, job.base, out=out)


def clipped_sums(gradients: Sequence[torch.Tensor], weights: torch.Tensor, max_grad_norm: float) -> torch.Tensor:
    """Return each client's sum of clipped gradients, (clients, parameters).

    Args:
        gradients: per-record gradients, (clients, records, size) a parameter.
        weights: 1 for a record, 0 for padding, (clients, records).
        max_grad_norm: the bound C.
    """
    norms = torch.stack([torch.linalg.vector_norm(each, dim=2) for each in gradients]).norm(dim=0)
    width = sum(each.shape[2] for each in gradients)
    factors = clip_factors(norms, max_grad_norm, rounding_of(norms.dtype, norms.shape[1], width)) * weights
    is_finite = torch.isfinite(norms).unsqueeze(2)
    clean = [torch.where(is_finite, each, 0.0) for each in gradients]
    return torch.cat([torch.bmm(factors.unsqueeze(1), each).squeeze(1) for each in clean], dim=1)


def _gradient(job: Job) -> Gradients:
    def loss(parameters: Tensors, x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = functional_call(job.module, parameters, (x,))
        return (per_record(job.recipe.loss, outputs, y) * weights).sum()

    gradient: Gradients = grad(loss)
    return gradient


def _views(job: Job, working: torch.Tensor) -> Tensors:
    """Return each parameter of all clients by name, as views of `working` (clients, parameters)."""
    pieces = torch.split(working, sizes(job.module), dim=1)
    return {
        name: piece.view(len(piece), *parameter.shape)
        for (name, parameter), piece in zip(job.module.named_parameters(), pieces, strict=True)
    }


def _pull_back(job: Job, working: torch.Tensor, stepping: torch.Tensor) -> None:
    """Move the stepping clients (1, others 0) towards the base: FedProx's proximal term."""
    if job.recipe.pull:
        working.lerp_(job.base.expand_as(working), (stepping * job.recipe.pull).unsqueeze(1))


def _add(job: Job, working: torch.Tensor, gradients: Tensors, scale: float) -> None:
    pieces = torch.split(working, sizes(job.module), dim=1)
    for piece, gradient in zip(pieces, gradients.values(), strict=True):
        piece.add_(gradient.detach().flatten(1), alpha=scale)
