"""SCAFFOLD on exact integers (Karimireddy et al., ICML 2020, option II), with nothing but the update leaving a site.

A client takes K steps of rate e along g - c_i + c: its gradient, less its own control, plus the server's. It releases
d_i, trained minus base in fixed point, and option II of the paper says what its control becomes:

    c_i = (c_i - c) - d_i / (K * e)

So whoever knows d_i knows by how much c_i moved. With w_i the weight of a client, W that of the whole cohort, and the
sums over the clients of a round, the server's control stays the weighted mean of all clients' controls:

    c = ((W - sum w_i) / W) * c - (sum w_i d_i) / (W * (K * e))

The sum is one of integers, so no order enters. What follows is elementwise in float64, one operation at a time in the
order written, as `fedchain.core.optimiser` has it. With equal weights these are the formulas of the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError
from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.optimiser import floats_of, words_of
from fedchain.core.tensors import FloatTensors, IntTensors, TensorSchema, decode, encode

SCAFFOLD: Final = "scaffold"
NO_CORRECTION: Final = "none"

_ENTERED: Final = "entered"
_ADDRESS_WORDS: Final = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A round of a run and the attempt at it: which of a client's updates is meant."""

    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Steps:
    """The local steps of a round, the same for every client, and their rate (a decimal string)."""

    count: int
    rate: str

    @property
    def length(self) -> float:
        """K * e."""
        return self.count * float(self.rate)


@dataclass(frozen=True, slots=True, eq=False)
class Control:
    """The server's control: `values` by tensor name, and the newest update of each client that entered it."""

    values: FloatTensors
    entered: Mapping[bytes, Place]

    @classmethod
    def read(cls, state: bytes | None, schema: TensorSchema) -> Control:
        """Read a control back; None is the one before the first sealed round: zeros, and nobody entered.

        Raises:
            FormatError: if it is not one of this model.
        """
        if state is None:
            return cls({name: np.zeros(shape) for name, shape in zip(schema.names, schema.shapes, strict=True)}, {})
        words = decode(state)
        entered = words.pop(_ENTERED, None)
        values = floats_of(words, {f"c/{name}": shape for name, shape in zip(schema.names, schema.shapes, strict=True)})
        if entered is None or entered.ndim != 2 or entered.shape[1] != _ADDRESS_WORDS + 2:
            raise FormatError("control", expected="the clients that entered it", got="no table of them")
        if not all(np.isfinite(each).all() for each in values.values()):
            raise FormatError("control", expected="finite values", got="others")
        return cls({name: values[f"c/{name}"] for name in schema.names}, dict(map(_client_of, entered)))

    def to_bytes(self) -> bytes:
        """Return the canonical tensors: values as words, clients in the order of their addresses."""
        rows = [_row_of(client, place) for client, place in sorted(self.entered.items())]
        entered = np.array(rows, "<i4").reshape(len(rows), _ADDRESS_WORDS + 2)
        return encode({f"c/{name}": words_of(each) for name, each in self.values.items()} | {_ENTERED: entered})

    def after(
        self, total: ExactSum, cohort_weight: int, steps: Steps, joined: Mapping[bytes, Place], encoding: FixedPoint
    ) -> Control:
        """Return the control after a round: `total` of the updates of those who `joined`.

        Raises:
            ModelOutOfRangeError: if a value is not finite any more.
        """
        kept, divisor = (cohort_weight - total.total_weight) / cohort_weight, cohort_weight * steps.length
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is refused below
            values = {
                name: kept * self.values[name] - np.multiply(sums, 2.0**-encoding.fraction_bits) / divisor
                for name, sums in total.sums().items()
            }
        if not all(np.isfinite(each).all() for each in values.values()):
            raise ModelOutOfRangeError("control of the server", expected="finite values", got="others")
        return Control(values, {**self.entered, **joined})

    def less(self, own: FloatTensors) -> FloatTensors:
        """Return c - c_i: what a client adds to every gradient."""
        return {name: each - own[name] for name, each in self.values.items()}


def own_after(correction: FloatTensors, update: IntTensors, steps: Steps, encoding: FixedPoint) -> FloatTensors:
    """Return a client's control after its release, from the correction c - c_i that it was trained with.

    Raises:
        InputError: if a value would not be finite.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is refused below
        own = {
            name: -each - np.multiply(update[name], 2.0**-encoding.fraction_bits) / steps.length
            for name, each in correction.items()
        }
    if not all(np.isfinite(each).all() for each in own.values()):
        raise InputError(
            "control of a client", expected="finite values", got="others", remedy="raise the learning rate"
        )
    return own


def own_to_bytes(own: FloatTensors) -> bytes:
    """Return a client's control as the canonical tensors of its words."""
    return encode({name: words_of(each) for name, each in own.items()})


def own_from_bytes(data: bytes | None, schema: TensorSchema) -> FloatTensors:
    """Read a client's control back; None is that of a client that never entered: zeros.

    Raises:
        FormatError: if it is not one of this model.
    """
    shapes = dict(zip(schema.names, schema.shapes, strict=True))
    if data is None:
        return {name: np.zeros(shape) for name, shape in shapes.items()}
    return floats_of(decode(data), shapes)


def _row_of(client: bytes, place: Place) -> list[int]:
    return [*np.frombuffer(client, "<i4").tolist(), place.round, place.attempt]


def _client_of(row: npt.NDArray[np.int32]) -> tuple[bytes, Place]:
    *_, round_, attempt = row.tolist()
    return row[:_ADDRESS_WORDS].astype("<i4").tobytes(), Place(round_, attempt)
