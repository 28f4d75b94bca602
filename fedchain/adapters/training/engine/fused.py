"""Plain SGD of many clients at once for stacks of linear layers: a batched product is every client's step.

The update of a weight is one product that adds to it in place, so no gradient is ever stored.
"""

from __future__ import annotations

import torch

from fedchain.adapters.training.engine.batches import shuffled
from fedchain.adapters.training.engine.recipe import Job
from fedchain.adapters.training.engine.stack import backward, forward, gather, pull_back, shapes_of, spread
from fedchain.adapters.training.losses import slope


def train(job: Job, out: torch.Tensor) -> None:
    """Write the update of each part into its row of `out`; `job.module` must be a stack (`shapes_of`)."""
    shapes = shapes_of(job.module, job.recipe.loss)
    if shapes is None:
        raise AssertionError("fused training is for stacks of linear layers")
    rate = job.recipe.learning_rate
    layers = spread(job, shapes)
    for batch in shuffled(job):
        values = forward(layers, batch.x)
        last = slope(job.recipe.loss, values[-1], batch.y).mul_(batch.weights.unsqueeze(2))
        slopes = backward(layers, values, last)
        if job.recipe.pull:
            pull_back(layers, job.base, batch.stepping() * job.recipe.pull)
        for layer, value, each in zip(layers, values, slopes, strict=False):
            layer.weight.baddbmm_(each.transpose(1, 2), value, alpha=-rate)
            layer.bias.sub_(each.sum(1), alpha=rate)
    gather(layers, job.base, out)
