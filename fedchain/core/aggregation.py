"""Exact weighted aggregation: new model = model + round_half_even(sum(w_i q_i) / sum(w_i)), in integers.

With |q| < 2^31 and a total weight below 2^32 every partial sum fits int64, so the order of arrival, the machine and
the number of threads cannot change a bit. Memory is O(model) however many clients: updates are added as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import IntTensors, TensorSchema

MAX_TOTAL_WEIGHT: Final = 2**32 - 1
# Parameters at a time: few enough that the int64 copies stay in the cache, enough that numpy's calls cost little.
_BLOCK: Final = 1 << 14
_SUM_BLOCK: Final = 1 << 16
_JOB: Final = 1 << 18

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
        self._check("update", update)
        if weight < 1 or self._total + weight > MAX_TOTAL_WEIGHT:
            raise FormatError("weight", expected=f"1..{MAX_TOTAL_WEIGHT - self._total}", got=weight)
        self._total += weight
        self._move(update, weight)

    def leave_out(self, update: Mapping[str, npt.NDArray[np.int32]], weight: int) -> None:
        """Take weight * update, which was added, out again; its weight stays in the divisor, as if it had been zero.

        Raises:
            FormatError: if the schema differs.
        """
        self._check("update", update)
        self._move(update, -weight)

    def put_back(self, update: Mapping[str, npt.NDArray[np.int32]], weight: int) -> None:
        """Undo `leave_out`.

        Raises:
            FormatError: if the schema differs.
        """
        self._check("update", update)
        self._move(update, weight)

    def apply_to(self, model: Mapping[str, npt.NDArray[np.int32]], encoding: FixedPoint) -> IntTensors:
        """Return model + mean update.

        Raises:
            InputError: if nothing was added.
            FormatError: if the model has another schema.
            ModelOutOfRangeError: if a parameter would leave the range.
        """
        if self._total == 0:
            raise InputError("aggregate", expected="at least one update", got="none")
        self._check("model", model)
        return {name: self._moved(name, model[name], encoding.limit) for name in self._schema.names}

    def sums(self) -> Mapping[str, npt.NDArray[np.int64]]:
        """Return the sum of weight * update so far, for each tensor of the schema; not a copy."""
        return self._sums

    def mean(self) -> dict[str, npt.NDArray[np.int64]]:
        """Return the mean update, rounded once, half to even, for each tensor of the schema.

        Raises:
            InputError: if nothing was added.
        """
        if self._total == 0:
            raise InputError("aggregate", expected="at least one update", got="none")
        return {name: divide_half_even(sums, self._total) for name, sums in self._sums.items()}

    def _move(self, update: Mapping[str, npt.NDArray[np.int32]], weight: int) -> None:
        jobs = [(self._sums[name], update[name], weight) for name in self._schema.names]
        self._run_all(_add_weighted, [part for job in jobs for part in _split(job)])

    def _check(self, what: str, tensors: Mapping[str, npt.NDArray[np.int32]]) -> None:
        if TensorSchema.of(tensors) != self._schema:
            raise FormatError(what, expected="the model's tensors", got=f"{len(tensors)} other tensors")
        for name, array in tensors.items():
            if array.dtype != np.int32:
                raise FormatError(f"{what} tensor {name}", expected="int32", got=array.dtype)

    def _moved(self, name: str, before: npt.NDArray[np.int32], limit: int) -> npt.NDArray[np.int32]:
        sums, flat, after = self._sums[name].reshape(-1), before.reshape(-1), np.empty(before.size, "<i4")
        for start in range(0, flat.size, _BLOCK):
            part = slice(start, start + _BLOCK)
            moved = divide_half_even(sums[part], self._total) + flat[part]
            if int(moved.max()) > limit or int(moved.min()) < -limit:
                raise ModelOutOfRangeError(f"model tensor {name}", expected="values in range", got="an overflow")
            after[part] = moved
        return after.reshape(before.shape)


def _split(job: Job) -> Iterable[Job]:
    total, update, weight = job
    flat_total, flat = total.reshape(-1), update.reshape(-1)
    for start in range(0, flat.size, _JOB):
        yield flat_total[start : start + _JOB], flat[start : start + _JOB], weight


def _add_weighted(job: Job) -> None:
    total, update, weight = job
    scratch = np.empty(min(_SUM_BLOCK, update.size), np.int64)
    for start in range(0, update.size, _SUM_BLOCK):
        part = update[start : start + _SUM_BLOCK]
        product = scratch[: part.size]
        np.copyto(product, part)  # two plain loops are faster than one that widens while it multiplies
        product *= weight
        total[start : start + _SUM_BLOCK] += product


def divide_half_even(numerator: npt.NDArray[np.int64], denominator: int) -> npt.NDArray[np.int64]:
    """Return numerator / denominator rounded half to even, for a denominator in 1..2^32 - 1."""
    quotient = numerator // np.int64(denominator)
    twice = (numerator - quotient * np.int64(denominator)) * 2
    odd = quotient & 1  # one more for an odd quotient, so that a tie goes up from it and stays at an even one
    rounded: npt.NDArray[np.int64] = quotient + (twice + odd > denominator)
    return rounded


def squared_norm(update: Mapping[str, npt.NDArray[np.int32]]) -> int:
    """Return the squared l2 norm of the integers, exactly.

    A square fits int64 (q^2 <= 2^62) and a sum of squares does not, so their upper and lower halves are summed apart
    and joined in Python integers.
    """
    upper = lower = 0
    for array in update.values():
        flat = array.reshape(-1)
        for start in range(0, flat.size, _BLOCK):
            square = flat[start : start + _BLOCK].astype(np.int64)
            square *= square
            upper += int((square >> 32).sum())
            lower += int((square & 0xFFFFFFFF).sum())
    return (upper << 32) + lower
