"""Which rows each client takes at each step: as an index of rows and a weight of each, padded to one width.

A padded place points to the client's first row and weighs nothing, so it moves no parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from fedchain.adapters.training.engine.recipe import Job, Part
from fedchain.adapters.training.secret_stream import SecretStream
from fedchain.adapters.training.shuffling import shuffles

_NONE: Final = np.zeros(0, np.intp)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step of all clients: rows (clients, width, *features), labels and weights (clients, width)."""

    x: torch.Tensor
    y: torch.Tensor
    weights: torch.Tensor

    def stepping(self) -> torch.Tensor:
        """Return 1 for each client that has rows in this batch and 0 for the others, (clients,)."""
        return self.weights.any(1).to(self.weights.dtype)


def shuffled(job: Job) -> Iterator[Batch]:
    """Yield plain SGD's batches in the loop's order; the weights of a batch sum to one, or to zero if it is empty."""
    if job.recipe.updates:
        yield from _counted(job)
        return
    size = job.recipe.batch_size
    counts = np.array([job.rows.count(part.client) for part in job.parts])
    steps = -(-int(counts.max(initial=0)) // size)
    orders = [
        shuffles(part.order, int(count), job.recipe.epochs) for part, count in zip(job.parts, counts, strict=True)
    ]
    lengths = np.clip(counts[:, None] - size * np.arange(steps), 0, size)
    for _ in range(job.recipe.epochs):
        index = np.zeros((len(job.parts), steps * size), np.intp)
        for row, count, order in zip(index, counts, orders, strict=True):
            row[:count] = next(order)
        index += starts_of(job)
        for step in range(steps):
            width = int(lengths[:, step].max())
            inside = np.arange(width) < lengths[:, step, None]
            weights = inside / np.maximum(lengths[:, step, None], 1)
            yield _batch(job, index[:, step * size : step * size + width], weights)


def own_batches(job: Job, part: Part) -> Iterator[npt.NDArray[np.intp]]:
    """Return one client's batches of plain SGD, each as numbers of its rows, in the order in which its trainer goes."""
    recipe, count = job.recipe, job.rows.count(part.client)
    in_epoch = max(1, -(-count // recipe.batch_size))
    steps = recipe.updates or recipe.epochs * in_epoch
    orders = shuffles(part.order, count, -(-steps // in_epoch))
    starts = range(0, count, recipe.batch_size)
    return itertools.islice((order[at : at + recipe.batch_size] for order in orders for at in starts), steps)


def sampled(job: Job, streams: list[SecretStream]) -> Iterator[Batch]:
    """Yield DP-SGD's Poisson samples, each client's from its own stream; weights are 1 and 0 (padding).

    Clients whose steps are over draw nothing and weigh nothing.
    """
    taken = [
        stream.samples(job.rows.count(part.client), part.batches_per_epoch, part.steps)
        for stream, part in zip(streams, job.parts, strict=True)
    ]
    for step in range(max(part.steps for part in job.parts)):
        samples = [np.flatnonzero(each[step]) if step < len(each) else _NONE for each in taken]
        yield _batch(job, *_padded(job, samples))


def _counted(job: Job) -> Iterator[Batch]:
    """Yield `updates` batches of every client, whose epochs end each at a step of its own."""
    taken = [own_batches(job, part) for part in job.parts]
    for _ in range(job.recipe.updates):
        index, inside = _padded(job, [next(each, _NONE) for each in taken])
        yield _batch(job, index, inside / np.maximum(inside.sum(1, keepdims=True), 1))


def _padded(job: Job, chosen: Sequence[npt.NDArray[np.intp]]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
    """Return rows of each client as numbers of the job's rows, (clients, width), and which of them are no padding."""
    lengths = np.array([len(each) for each in chosen])
    inside = np.arange(int(lengths.max())) < lengths[:, None]
    index = np.zeros(inside.shape, np.intp)
    index[inside] = np.concatenate(chosen)
    index += starts_of(job)
    return index, inside


def starts_of(job: Job) -> npt.NDArray[np.intp]:
    """Return where each client's rows start, (clients, 1)."""
    return np.array([[job.rows.starts[part.client]] for part in job.parts], np.intp)


def _batch(job: Job, index: npt.NDArray[np.intp], weights: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> Batch:
    last = len(job.rows.x) - 1
    places = torch.from_numpy(np.minimum(index, last).ravel())
    x = job.rows.x.index_select(0, places).view(*index.shape, *job.rows.x.shape[1:])
    y = job.rows.y.index_select(0, places).view(index.shape)
    return Batch(x, y, torch.from_numpy(weights).to(job.recipe.dtype))
