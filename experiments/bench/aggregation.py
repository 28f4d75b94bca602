"""Exact aggregation of 100 clients' updates, against reading the same bytes once with numpy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence

import numpy as np

from experiments.bench.measure import Row, interleaved
from fedchain.core.aggregation import ExactSum
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import IntTensors, TensorSchema

CLIENTS = 100
BOUND = 8.0


def measure(parameters: int, repeats: int) -> list[Row]:
    """Return the row for updates of so many parameters, with the peak memory beyond the updates in its note."""
    rng = np.random.default_rng(1)
    updates: list[IntTensors] = [
        {"weight": rng.integers(-(2**24), 2**24, parameters, np.int32)} for _ in range(CLIENTS)
    ]
    ours, peer = interleaved([lambda: _aggregate(updates), lambda: _read(updates)], repeats)
    tracemalloc.start()
    _aggregate(updates)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    note = f"peak {peak / (4 * parameters):.1f} x the model's bytes, for any number of clients"
    return [Row(f"exact aggregation, {CLIENTS} x {parameters:,}", ours, "reading the updates once", peer, BOUND, note)]


def _aggregate(updates: Sequence[IntTensors]) -> IntTensors:
    total = ExactSum(TensorSchema.of(updates[0]))
    for index, update in enumerate(updates):
        total.add(update, 100 + index)
    return total.apply_to(updates[0], FixedPoint())


def _read(updates: Sequence[IntTensors]) -> int:
    return sum(int(update["weight"].max()) for update in updates)
