"""Server optimisers over exact means: FedAvgM (Hsu et al. 2019) and FedAdam (Reddi et al., ICLR 2021).

The mean update d is the integer mean of the round, as a float64. With state m and v, zeros before the first step:

    momentum:  m = b1 * m + d                  x = x + rate * m
    adam:      m = b1 * m + (1 - b1) * d       x = x + rate * m / (sqrt(v) + tau)
               v = b2 * v + (1 - b2) * (d * d)

Every operation is one elementwise float64 operation in the order written, and IEEE 754 rounds each of them (the square
root too) in one way, so that every machine gets the same bits. The state is kept as these bits, the model as integers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.core.aggregation import ModelOutOfRangeError
from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import FloatTensors, IntTensors, TensorSchema, decode, encode

MOMENTUM: Final = "momentum"
ADAM: Final = "adam"
_PARTS: Final = {MOMENTUM: ("m",), ADAM: ("m", "v")}

Floats: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ServerOptimiser:
    """How a mean update moves the model; decimal strings stand for reals.

    `rule` is "momentum" or "adam"; the former has no `second_momentum` (b2) and no `tau`: both are "0".
    """

    rule: str
    learning_rate: str
    momentum: str
    second_momentum: str
    tau: str

    def step(
        self, base: IntTensors, mean: Mapping[str, npt.NDArray[np.int64]], state: bytes | None, encoding: FixedPoint
    ) -> tuple[IntTensors, bytes]:
        """Return the next model and the state after it; `state` is None before the first step.

        Raises:
            FormatError: if the state is not of this optimiser and model.
            ModelOutOfRangeError: if a parameter or the state would leave its range.
        """
        schema = TensorSchema.of(base)
        before = self._zeros(schema) if state is None else self._read(state, schema)
        after: FloatTensors = {}
        model: IntTensors = {}
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
            for name in schema.names:
                update = np.multiply(mean[name], 2.0**-encoding.fraction_bits, dtype=np.float64)
                moved = self._moved(name, update, before, after)
                model[name] = _added(name, base[name], moved, encoding)
        if not all(np.isfinite(each).all() for each in after.values()):
            raise ModelOutOfRangeError("state of the server's optimiser", expected="finite values", got="others")
        return model, encode({name: words_of(each) for name, each in after.items()})

    def _moved(self, name: str, update: Floats, before: FloatTensors, after: FloatTensors) -> Floats:
        first, rate = float(self.momentum), float(self.learning_rate)
        if self.rule == MOMENTUM:
            m = after[f"m/{name}"] = first * before[f"m/{name}"] + update
            return rate * m
        second, tau = float(self.second_momentum), float(self.tau)
        m = after[f"m/{name}"] = first * before[f"m/{name}"] + (1.0 - first) * update
        v = after[f"v/{name}"] = second * before[f"v/{name}"] + (1.0 - second) * (update * update)
        return rate * m / (np.sqrt(v) + tau)

    def _zeros(self, schema: TensorSchema) -> FloatTensors:
        shapes = zip(schema.names, schema.shapes, strict=True)
        return {f"{part}/{name}": np.zeros(shape) for name, shape in shapes for part in _PARTS[self.rule]}

    def _read(self, state: bytes, schema: TensorSchema) -> FloatTensors:
        return floats_of(decode(state), {name: each.shape for name, each in self._zeros(schema).items()})


def state_digest(data: bytes) -> Digest:
    """Return the digest of a server optimiser's state."""
    return tagged("server-state", data)


def _added(name: str, base: npt.NDArray[np.int32], moved: Floats, encoding: FixedPoint) -> npt.NDArray[np.int32]:
    after = base + np.rint(moved * 2.0**encoding.fraction_bits)
    if not bool((np.abs(after) <= encoding.limit).all()):  # NaN is not below the limit either
        raise ModelOutOfRangeError(f"model tensor {name}", expected="values in range", got="an overflow")
    return after.astype("<i4")


def words_of(values: Floats) -> npt.NDArray[np.int32]:
    """Return float64 values as pairs of int32, the low word first: the bits, whatever the machine's byte order."""
    return np.ascontiguousarray(values, "<f8").reshape(*values.shape, 1).view("<i4")


def floats_of(words: IntTensors, shapes: Mapping[str, tuple[int, ...]]) -> FloatTensors:
    """Return the float64 values, of the given shapes by name, whose words these are.

    Raises:
        FormatError: if names or shapes are others.
    """
    if {name: each.shape for name, each in words.items()} != {name: (*shape, 2) for name, shape in shapes.items()}:
        raise FormatError("state of the server", expected="a state of this model", got="another")
    return {name: np.ascontiguousarray(each).view("<f8")[..., 0] for name, each in words.items()}
