"""Server rules of an experimenter's own: integers in, integers out, and nothing that could not be computed again.

A rule is called as `rule(base, mean, state)`: the base model and the exact mean update in fixed point by tensor name,
int32 and int64, and its own state, {} before the first round. It returns the next model, in integers, and the state
after it: arrays of int32 or float64 by any names. All that it is given is read-only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.core.aggregation import ModelOutOfRangeError
from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.optimiser import floats_of, words_of
from fedchain.core.tensors import IntTensors, TensorSchema, decode, encode

CUSTOM: Final = "custom"

_FLOATS: Final = "f/"
_INTEGERS: Final = "i/"

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
Rule: TypeAlias = Callable[[Arrays, Arrays, Arrays], tuple[Arrays, Arrays]]


@dataclass(frozen=True, slots=True)
class OwnStrategy:
    """Which rule of an experimenter's own moves the model: its target, its options, the digest of its source files."""

    target: str
    options: dict[str, str]
    sources: bytes


def step_by(
    rule: Rule, base: IntTensors, mean: Arrays, state: bytes | None, encoding: FixedPoint
) -> tuple[bytes, bytes]:
    """Return the canonical bytes of the model and of the state that a rule makes.

    Raises:
        InputError: if it returns no integers of the model's shapes, or not the same when it is asked twice.
        ModelOutOfRangeError: if a parameter or the state would leave its range.
        FormatError: if the state before is no state of a rule.
    """
    for each in (*base.values(), *mean.values()):
        each.flags.writeable = False
    first, second = (_stepped(rule, (base, mean, _read(state)), encoding) for _ in range(2))
    if first != second:
        raise InputError("strategy of one's own", expected="one model and state for one mean", got="another each time")
    return first


def _stepped(rule: Rule, given: tuple[IntTensors, Arrays, Arrays], encoding: FixedPoint) -> tuple[bytes, bytes]:
    made: object = rule(*given)
    match made:
        case (dict() as model, dict() as state):
            return encode(_model(model, TensorSchema.of(given[0]), encoding)), _state(state)
        case _:
            raise InputError(
                "strategy of one's own", expected="(model, state), two dictionaries of arrays", got=type(made).__name__
            )


def _model(made: dict[str, Any], schema: TensorSchema, encoding: FixedPoint) -> IntTensors:
    arrays = {name: np.asarray(each) for name, each in made.items()}
    if TensorSchema.of(arrays) != schema:
        raise InputError(
            "model of a strategy of one's own", expected="the base model's tensors", got=f"{len(made)} others"
        )
    for name, each in arrays.items():
        if not np.issubdtype(each.dtype, np.integer):
            raise InputError(
                f"model tensor {name} of a strategy of one's own", expected="integers in fixed point",
                got=each.dtype,
                remedy="round it: np.rint(...).astype(np.int64)",
            )  # fmt: skip
        if each.size and max(int(each.max()), -int(each.min())) > encoding.limit:
            raise ModelOutOfRangeError(f"model tensor {name}", expected="values in range", got="an overflow")
    return {name: each.astype("<i4") for name, each in arrays.items()}


def _state(made: dict[str, Any]) -> bytes:
    tensors: IntTensors = {}
    for name, value in made.items():
        array = np.asarray(value)
        if array.dtype == np.int32:
            tensors[_INTEGERS + name] = array
        elif array.dtype != np.float64:
            raise InputError(f"state {name} of a strategy of one's own", expected="int32 or float64", got=array.dtype)
        elif not np.isfinite(array).all():
            raise ModelOutOfRangeError(
                f"state {name} of a strategy of one's own", expected="finite values", got="others"
            )
        else:
            tensors[_FLOATS + name] = words_of(array)
    return encode(tensors)


def _read(state: bytes | None) -> Arrays:
    words = {} if state is None else decode(state)
    floats = {name: each for name, each in words.items() if name.startswith(_FLOATS)}
    integers = {name.removeprefix(_INTEGERS): each for name, each in words.items() if name.startswith(_INTEGERS)}
    if len(floats) + len(integers) < len(words) or any(each.shape[-1:] != (2,) for each in floats.values()):
        raise FormatError("state of a strategy of one's own", expected="words of numbers", got="other tensors")
    read = floats_of(floats, {name: each.shape[:-1] for name, each in floats.items()})
    for each in read.values():
        each.flags.writeable = False
    return integers | {name.removeprefix(_FLOATS): each for name, each in read.items()}
