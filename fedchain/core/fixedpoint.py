"""Fixed point: what enters the record is integers, so that sums do not depend on order, machine or thread count.

x is stored as q = rint(x * 2^F), half to even, in int32; F = 24 fraction bits give |x| < 128 in steps of 6e-8. The
range is symmetric: -2^31 is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors, IntTensors


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """An encoding of reals as integers: `fraction_bits` F in 1..30, `width` in bits (32)."""

    fraction_bits: int = 24
    width: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.fraction_bits <= 30 or self.width != 32:
            raise InputError("fixed point", expected="1..30 fraction bits in 32", got=f"{self}")

    @property
    def limit(self) -> int:
        """The largest magnitude of an encoded value."""
        return (1 << (self.width - 1)) - 1

    def quantise(self, tensors: Mapping[str, npt.NDArray[Any]]) -> IntTensors:
        """Encode float tensors.

        Raises:
            InputError: if a value is NaN, infinite or out of range.
        """
        return {name: self._quantise(name, array) for name, array in tensors.items()}

    def _quantise(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        if array.dtype.kind != "f":
            raise InputError(f"tensor {name}", expected="floating point", got=array.dtype)
        scaled = np.rint(np.ldexp(np.asarray(array, np.float64), self.fraction_bits))
        if not np.all(np.abs(scaled) <= self.limit):
            raise InputError(
                f"tensor {name} does not fit fixed point",
                expected=f"finite values below {(self.limit + 1) >> self.fraction_bits} in magnitude",
                got="NaN, infinity or a larger value",
            )
        return scaled.astype("<i4")

    def dequantise(self, tensors: Mapping[str, npt.NDArray[np.int32]]) -> FloatTensors:
        """Decode to float64, exactly."""
        return {name: np.ldexp(array.astype(np.float64), -self.fraction_bits) for name, array in tensors.items()}
