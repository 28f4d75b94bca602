"""Stacks of linear layers, with every client's weights side by side: what can be trained by batched products alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from fedchain.adapters.training.engine.recipe import Job
from fedchain.adapters.training.losses import Loss


@dataclass(frozen=True, slots=True)
class Shape:
    """One linear layer (weight and bias) and whether a ReLU follows it."""

    inputs: int
    outputs: int
    is_rectified: bool


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer of all clients: weight (clients, outputs, inputs), bias (clients, outputs)."""

    shape: Shape
    weight: torch.Tensor
    bias: torch.Tensor


def shapes_of(module: nn.Module, loss: Loss) -> tuple[Shape, ...] | None:
    """Return the layers of a sequence of biased Linear, ReLU and Flatten, or None for any other module."""
    shapes: list[Shape] = []
    seen: set[int] = set()
    if not isinstance(module, nn.Sequential):
        return None
    for each in module:
        if isinstance(each, nn.Flatten):
            continue
        if type(each) is nn.ReLU and shapes and not shapes[-1].is_rectified:
            shapes[-1] = Shape(shapes[-1].inputs, shapes[-1].outputs, is_rectified=True)
        elif type(each) is nn.Linear and len(list(each.parameters())) == 2 and id(each) not in seen:
            seen.add(id(each))
            shapes.append(Shape(each.in_features, each.out_features, is_rectified=False))
        else:
            return None
    if not shapes or shapes[-1].is_rectified or (loss is not Loss.CLASSES and shapes[-1].outputs != 1):
        return None
    if any(one.outputs != other.inputs for one, other in itertools.pairwise(shapes)):
        return None
    return tuple(shapes)


def spread(job: Job, shapes: Sequence[Shape]) -> list[Layer]:
    """Return the base model's layers, copied for each client."""
    clients, layers, start = len(job.parts), [], 0
    for each in shapes:
        middle = start + each.inputs * each.outputs
        weight = job.base[start:middle].view(each.outputs, each.inputs)
        start = middle + each.outputs
        bias = job.base[middle:start]
        layers.append(Layer(each, weight.repeat(clients, 1, 1), bias.repeat(clients, 1)))
    return layers


def gather(layers: Sequence[Layer], base: torch.Tensor, out: torch.Tensor) -> None:
    """Write what the layers moved by into `out` (clients, parameters)."""
    start = 0
    for each in layers:
        for tensor in (each.weight, each.bias):
            size = tensor[0].numel()
            torch.sub(tensor.view(len(out), size), base[start : start + size], out=out[:, start : start + size])
            start += size


def pull_back(layers: Sequence[Layer], base: torch.Tensor, shares: torch.Tensor) -> None:
    """Move each client's layers towards the base, by its share (clients,) of the way: FedProx's proximal term."""
    start = 0
    for each in layers:
        for tensor in (each.weight, each.bias):
            size = tensor[0].numel()
            flat = tensor.view(len(shares), size)
            flat.lerp_(base[start : start + size].expand_as(flat), shares.unsqueeze(1))
            start += size


def forward(layers: Sequence[Layer], x: torch.Tensor) -> list[torch.Tensor]:
    """Return each layer's input, (clients, records, inputs), and the logits at the end."""
    values = [x.flatten(2)]
    for each in layers:
        value = torch.baddbmm(each.bias.unsqueeze(1), values[-1], each.weight.transpose(1, 2))
        values.append(value.relu_() if each.shape.is_rectified else value)
    return values


def backward(layers: Sequence[Layer], values: Sequence[torch.Tensor], last: torch.Tensor) -> list[torch.Tensor]:
    """Return the loss's slope at each layer's output before its ReLU, given the slope at the logits."""
    slopes = [last]
    for index in range(len(layers) - 1, 0, -1):
        back = torch.bmm(slopes[0], layers[index].weight)
        is_rectified = layers[index - 1].shape.is_rectified
        slopes.insert(0, torch.ops.aten.threshold_backward(back, values[index], 0) if is_rectified else back)
    return slopes
