"""Flower's ArrayRecords as the tensors that a record holds, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord

from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors


@dataclass(frozen=True, slots=True)
class ArrayForm:
    """In which order and precision an app wants its arrays: an app may know them by their places only."""

    names: tuple[str, ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, arrays: ArrayRecord) -> ArrayForm:
        """Return the form of an app's own arrays."""
        return cls(tuple(arrays), tuple(arrays[name].dtype for name in arrays))

    def arrays_of(self, tensors: FloatTensors) -> ArrayRecord:
        """Return tensors in this form."""
        pairs = zip(self.names, self.dtypes, strict=True)
        return ArrayRecord({name: Array(tensors[name].astype(np.dtype(dtype))) for name, dtype in pairs})


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
            remedy="leave counters out of the ArrayRecord, or use a layer without them (GroupNorm for BatchNorm)",
        )  # fmt: skip
    return {name: arrays[name].numpy().astype(np.float64) for name in arrays}
