"""Which rows each client takes at each step: as an index of rows and a weight of each, padded to one width.

A padded place points to the client's first row and weighs nothing, so it moves no parameter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fedchain.adapters.training.engine.recipe import Job
from fedchain.adapters.training.secret_stream import SecretStream
from fedchain.adapters.training.shuffling import shuffles


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step of all clients: rows (clients, width, *features), labels and weights (clients, width)."""

    x: torch.Tensor
    y: torch.Tensor
    weights: torch.Tensor


def shuffled(job: Job) -> Iterator[Batch]:
    """Yield plain SGD's batches in the loop's order; the weights of a batch sum to one, or to zero if it is empty."""
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


def sampled(job: Job, streams: list[SecretStream]) -> Iterator[Batch]:
    """Yield DP-SGD's Poisson samples, each client's from its own stream; weights are 1 and 0 (padding).

    Clients whose steps are over draw nothing and weigh nothing.
    """
    taken = [
        stream.samples(job.rows.count(part.client), part.batches_per_epoch, part.steps)
        for stream, part in zip(streams, job.parts, strict=True)
    ]
    for step in range(max(part.steps for part in job.parts)):
        samples = [np.flatnonzero(each[step]) if step < len(each) else np.zeros(0, np.intp) for each in taken]
        lengths = np.array([len(each) for each in samples])
        width = int(lengths.max())
        inside = np.arange(width) < lengths[:, None]
        index = np.zeros((len(samples), width), np.intp)
        index[inside] = np.concatenate(samples)
        index += starts_of(job)
        yield _batch(job, index, inside)


def starts_of(job: Job) -> npt.NDArray[np.intp]:
    """Return where each client's rows start, (clients, 1)."""
    return np.array([[job.rows.starts[part.client]] for part in job.parts], np.intp)


def _batch(job: Job, index: npt.NDArray[np.intp], weights: npt.NDArray[np.floating] | npt.NDArray[np.bool_]) -> Batch:
    last = len(job.rows.x) - 1
    places = torch.from_numpy(np.minimum(index, last).ravel())
    x = job.rows.x.index_select(0, places).view(*index.shape, *job.rows.x.shape[1:])
    y = job.rows.y.index_select(0, places).view(index.shape)
    return Batch(x, y, torch.from_numpy(weights).to(job.recipe.dtype))
