"""DP-SGD over clients and records at once for stacks of linear layers, by book-keeping.

The gradient of one record for a linear layer is the outer product of the slope at its output and its input, so its norm
is the product of theirs, and the clipped sum is one batched product with the slopes scaled by the clipping factors
(Goodfellow 2015; book-keeping: Bu et al., ICML 2023). No gradient per record is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fedchain.adapters.training.clipping import clip_factors, rounding_of
from fedchain.adapters.training.engine.batches import Batch, sampled
from fedchain.adapters.training.engine.noise import StepNoise, private_rates, still_stepping
from fedchain.adapters.training.engine.recipe import Job
from fedchain.adapters.training.engine.stack import Layer, backward, forward, gather, pull_back, shapes_of, spread
from fedchain.adapters.training.losses import slope
from fedchain.adapters.training.secret_stream import SecretStream


def train(job: Job, out: torch.Tensor) -> None:
    """Write the update of each part into its row of `out`; `job.module` must be a stack (`shapes_of`)."""
    shapes = shapes_of(job.module, job.recipe.loss)
    if shapes is None:
        raise AssertionError("fused training is for stacks of linear layers")
    streams = [SecretStream(job.secret) for _ in job.parts]
    noise = StepNoise(streams, len(job.base), max(part.steps for part in job.parts), job.recipe.dtype)
    per_sum, per_normal = private_rates(job)
    layers = spread(job, shapes)
    for step, batch in enumerate(sampled(job, streams)):
        stepping = still_stepping(job, step)
        slopes, values = _slopes(layers, batch, job) if batch.x.shape[1] else ([], [])
        if job.recipe.pull:
            pull_back(layers, job.base, stepping * job.recipe.pull)
        if slopes:
            factors = clipping(values[:-1], slopes, job.recipe.max_grad_norm)
            _descend(layers, values, slopes, factors * batch.weights * per_sum.unsqueeze(1))
        _disturb(layers, noise.next(), per_normal * stepping)
    gather(layers, job.base, out)


def _slopes(layers: Sequence[Layer], batch: Batch, job: Job) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the loss's slope at each layer's output, and each layer's input with the logits at the end."""
    values = forward(layers, batch.x)
    return backward(layers, values, slope(job.recipe.loss, values[-1], batch.y)), values


def clipping(values: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor], max_grad_norm: float) -> torch.Tensor:
    """Return each record's clipping factor, (clients, records), and zero in place what belongs to those not finite.

    Args:
        values: each layer's inputs, (clients, records, inputs).
        slopes: the loss's slope at each layer's outputs, (clients, records, outputs).
        max_grad_norm: the bound C.
    """
    norms = torch.zeros(slopes[0].shape[:2], dtype=slopes[0].dtype)
    for value, each in zip(values, slopes, strict=True):
        of_input = torch.linalg.vector_norm(value, dim=2).square_().add_(1)  # 1: the bias
        norms.addcmul_(of_input, torch.linalg.vector_norm(each, dim=2).square_())
    norms.sqrt_()
    is_spoiled = ~torch.isfinite(norms)
    if is_spoiled.any():
        for tensor in (*values, *slopes):
            tensor.masked_fill_(is_spoiled.unsqueeze(2), 0.0)
    width = sum(value.shape[2] + each.shape[2] for value, each in zip(values, slopes, strict=True))
    return clip_factors(norms, max_grad_norm, rounding_of(norms.dtype, norms.shape[1], width))


def _descend(
    layers: Sequence[Layer], values: Sequence[torch.Tensor], slopes: Sequence[torch.Tensor], factors: torch.Tensor
) -> None:
    for layer, value, each in zip(layers, values, slopes, strict=False):
        each.mul_(factors.unsqueeze(2))
        layer.weight.baddbmm_(each.transpose(1, 2), value, alpha=-1)
        layer.bias.sub_(each.sum(1))


def _disturb(layers: Sequence[Layer], normals: torch.Tensor, scales: torch.Tensor) -> None:
    start = 0
    for layer in layers:
        for tensor in (layer.weight, layer.bias):
            clients, size = len(scales), tensor[0].numel()
            noise = normals[:, start : start + size]
            tensor.view(clients, size).addcmul_(noise, scales.unsqueeze(1), value=-1)
            start += size
