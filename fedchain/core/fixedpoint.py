"""Fixed point: what enters the record is integers, so that sums do not depend on order, machine or thread count.

x is stored as q = rint(x * 2^F), half to even, in int32; F = 24 fraction bits give |x| < 128 in steps of 6e-8. The
range is symmetric: -2^31 is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors, IntTensors

_BLOCK: Final = 1 << 14  # values at a time, so that the float64 copies stay in the cache


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
        flat, encoded = array.reshape(-1), np.empty(array.size, "<i4")
        for start in range(0, flat.size, _BLOCK):
            encoded[start : start + _BLOCK] = self._rounded(name, flat[start : start + _BLOCK])
        return encoded.reshape(array.shape)

    def _rounded(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are refused below
            scaled = values.astype(np.float64) * 2.0**self.fraction_bits
        np.rint(scaled, out=scaled)
        if not (scaled.min() >= -self.limit and scaled.max() <= self.limit):
            raise InputError(
                f"tensor {name} does not fit fixed point",
                expected=f"finite values below {(self.limit + 1) >> self.fraction_bits} in magnitude",
                got="NaN, infinity or a larger value",
            )
        return scaled

    def dequantise(self, tensors: Mapping[str, npt.NDArray[np.int32]]) -> FloatTensors:
        """Decode to float64, exactly."""
        step = 2.0**-self.fraction_bits
        return {name: np.multiply(array, step, dtype=np.float64) for name, array in tensors.items()}
