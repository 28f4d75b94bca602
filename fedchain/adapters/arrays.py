"""Flower's ArrayRecords as the tensors that a record holds, and back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord

from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """In which order and precision an app wants its arrays: an app may know them by their places only.

    The `frozen` ones are no part of the exchanged model: they keep their first value.
    """

    names: tuple[str, ...]
    dtypes: tuple[str, ...]
    frozen: ArrayRecord

    @classmethod
    def of(cls, arrays: ArrayRecord, frozen: Collection[str]) -> ArrayForm:
        """Return the form of an app's own arrays, some of them frozen by name.

        Raises:
            InputError: if a frozen name is none of the app's.
        """
        strange = sorted(set(frozen) - set(arrays))
        if strange:
            raise InputError("frozen arrays", expected=f"names among {', '.join(arrays)[:200]}", got=strange[0])
        kept = ArrayRecord({name: arrays[name] for name in frozen})
        return cls(tuple(arrays), tuple(arrays[name].dtype for name in arrays), kept)

    def arrays_of(self, tensors: FloatTensors) -> ArrayRecord:
        """Return tensors in this form, the frozen arrays among them."""
        pairs = zip(self.names, self.dtypes, strict=True)
        return ArrayRecord(
            {
                name: self.frozen[name] if name in self.frozen else Array(tensors[name].astype(np.dtype(dtype)))
                for name, dtype in pairs
            }
        )

    def tensors_of(self, arrays: ArrayRecord) -> FloatTensors:
        """Return arrays in float64 without the frozen ones; see `tensors_of`."""
        return tensors_of(ArrayRecord({name: each for name, each in arrays.items() if name not in self.frozen}))


def tensors_of(arrays: ArrayRecord) -> FloatTensors:
    """Return arrays in float64.

    Raises:
        InputError: if there are none, or one is not floating point.
    """
    if not arrays:
        raise InputError("arrays of a Flower app", expected="at least one", got="none")
    odd = next((name for name in arrays if not arrays[name].dtype.startswith("float")), None)
    if odd is not None:
        raise InputError(
            f"array {odd} of the app", expected="floating point", got=arrays[odd].dtype,
            remedy=f"recorded(..., frozen=({odd!r},)) keeps its first value, or use a layer without it (GroupNorm)",
        )  # fmt: skip
    return {name: arrays[name].numpy().astype(np.float64) for name in arrays}
