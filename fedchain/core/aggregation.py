"""Exact weighted aggregation: new model = model + round_half_even(sum(w_i q_i) / sum(w_i)), in integers.

With |q| < 2^31 and a total weight below 2^32 every partial sum fits int64, so the order of arrival, the machine and
the number of threads cannot change a bit. Memory is O(model) however many clients: updates are added as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import IntTensors, TensorSchema

MAX_TOTAL_WEIGHT: Final = 2**32 - 1
_BLOCK: Final = 1 << 14

Job = tuple[npt.NDArray[np.int64], npt.NDArray[np.int32], int]
RunAll = Callable[[Callable[[Job], None], Iterable[Job]], None]
"""Applies a function to independent jobs, in any order, on any number of threads."""


class ModelOutOfRangeError(InputError):
    """The new model would leave the fixed-point range; the round must be aborted with a record."""


def serially(apply: Callable[[Job], None], jobs: Iterable[Job]) -> None:
    """Apply a function to each job in turn."""
    for job in jobs:
        apply(job)


class ExactSum:
    """A running weighted sum of updates of one schema."""

    def __init__(self, schema: TensorSchema, run_all: RunAll = serially) -> None:
        self._schema = schema
        self._sums = {name: np.zeros(shape, np.int64) for name, shape in zip(schema.names, schema.shapes, strict=True)}
        self._run_all = run_all
        self._total = 0

    @property
    def total_weight(self) -> int:
        """The sum of the weights so far."""
        return self._total

    def add(self, update: Mapping[str, npt.NDArray[np.int32]], weight: int) -> None:
        """Add weight * update.

        Raises:
            FormatError: if the schema differs, the weight is not positive or the total would pass 2^32 - 1.
        """
        if TensorSchema.of(update) != self._schema:
            raise FormatError("update", expected="the model's tensors", got=f"{len(update)} other tensors")
        if weight < 1 or self._total + weight > MAX_TOTAL_WEIGHT:
            raise FormatError("weight", expected=f"1..{MAX_TOTAL_WEIGHT - self._total}", got=weight)
        self._total += weight
        jobs = [(self._sums[name], update[name], weight) for name in self._schema.names]
        self._run_all(_add_weighted, [part for job in jobs for part in _split(job)])

    def apply_to(self, model: Mapping[str, npt.NDArray[np.int32]], encoding: FixedPoint) -> IntTensors:
        """Return model + mean update.

        Raises:
            InputError: if nothing was added.
            ModelOutOfRangeError: if a parameter would leave the range.
        """
        if self._total == 0:
            raise InputError("aggregate", expected="at least one update", got="none")
        result: IntTensors = {}
        for name in self._schema.names:
            moved = model[name].astype(np.int64) + divide_half_even(self._sums[name], self._total)
            if moved.size and int(np.abs(moved).max()) > encoding.limit:
                raise ModelOutOfRangeError(f"model tensor {name}", expected="values in range", got="an overflow")
            result[name] = moved.astype("<i4")
        return result


def _split(job: Job) -> Iterable[Job]:
    total, update, weight = job
    flat_total, flat = total.reshape(-1), update.reshape(-1)
    span = _BLOCK * 16
    for start in range(0, flat.size, span):
        yield flat_total[start : start + span], flat[start : start + span], weight


def _add_weighted(job: Job) -> None:
    total, update, weight = job
    scratch = np.empty(min(_BLOCK, update.size), np.int64)
    for start in range(0, update.size, _BLOCK):
        part = update[start : start + _BLOCK]
        product = scratch[: part.size]
        np.multiply(part, np.int64(weight), out=product)
        total[start : start + _BLOCK] += product


def divide_half_even(numerator: npt.NDArray[np.int64], denominator: int) -> npt.NDArray[np.int64]:
    """Return numerator / denominator rounded half to even, for a denominator in 1..2^32 - 1."""
    quotient, remainder = np.divmod(numerator, np.int64(denominator))
    twice = remainder * 2
    up = (twice > denominator) | ((twice == denominator) & ((quotient & 1) == 1))
    result: npt.NDArray[Any] = quotient + up
    return result


def squared_norm(update: Mapping[str, npt.NDArray[np.int32]]) -> int:
    """Return the squared l2 norm of the integers, exactly.

    int64 squares would wrap, so q = 2^16 h + l is squared by parts: q^2 = 2^32 h^2 + 2^17 h l + l^2, each part summed
    in int64 (safe below 2^31 parameters a tensor) and joined in Python integers.
    """
    total = 0
    for array in update.values():
        flat = array.reshape(-1).astype(np.int64)
        high, low = flat >> 16, flat & 0xFFFF
        total += (int(high @ high) << 32) + (int(high @ low) << 17) + int(low @ low)
    return total
