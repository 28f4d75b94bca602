from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from fedchain.core.envelope import Envelope
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.rejection import Reason
from fedchain.core.tensor_check import check_tensors
from fedchain.core.tensors import IntTensors, TensorSchema, encode
from tests.core.samples import int_arrays

SALT = bytes(32)
GOOD: IntTensors = {"bias": np.array([5, -6], np.int32), "weight": np.array([[1, 2], [3, 4]], np.int32)}
SCHEMA = TensorSchema.of(GOOD)
ENCODING = FixedPoint()


def judged(update: bytes, fraction_bits: int = 24, width: int = 32) -> IntTensors | Reason:
    return check_tensors(Envelope(SALT, fraction_bits, width, update), SCHEMA, ENCODING)


def with_weight(array: npt.NDArray[Any]) -> bytes:
    return save({"bias": GOOD["bias"], "weight": array})


def raw(dtype: str, size: int, name: str = "weight") -> bytes:
    """A file with one tensor of a type that numpy does not have."""
    text = json.dumps({name: {"dtype": dtype, "shape": [2, 2], "data_offsets": [0, size]}}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + bytes(size)


def test_an_update_of_the_declared_schema_passes_with_its_values() -> None:
    tensors = judged(encode(GOOD))
    assert not isinstance(tensors, Reason)
    assert {name: array.tolist() for name, array in tensors.items()} == {"bias": [5, -6], "weight": [[1, 2], [3, 4]]}


@pytest.mark.parametrize(
    ("update", "reason"),
    [
        (with_weight(np.ones((2, 2), np.float32)), Reason.FLOAT32),
        (with_weight(np.ones((2, 2), np.float16)), Reason.FLOAT32),
        (raw("BF16", 8), Reason.FLOAT32),
        (with_weight(np.ones((2, 2), np.float64)), Reason.FLOAT64),
        (with_weight(np.ones((2, 2), np.bool_)), Reason.BOOL),
        (with_weight(np.ones((2, 2), np.complex64)), Reason.COMPLEX),
        (raw("C128", 64), Reason.COMPLEX),
        (raw("STR", 7), Reason.NOT_NUMERIC),
        (raw("O", 0), Reason.NOT_NUMERIC),
        (with_weight(np.full((2, 2), np.nan, np.float32)), Reason.NOT_FINITE),
        (with_weight(np.array([[1, 2], [3, np.inf]])), Reason.NOT_FINITE),
        (with_weight(np.array([[1, 2], [3, -np.inf]], np.float16)), Reason.NOT_FINITE),
        (with_weight(np.array([[1, 2], [3, -(2**31)]], np.int32)), Reason.OUT_OF_RANGE),
        (with_weight(np.ones((2, 2), np.int64)), Reason.OTHER_ENCODING),
        (with_weight(np.ones((2, 2), np.int16)), Reason.OTHER_ENCODING),
        (with_weight(np.ones((2, 2), np.uint32)), Reason.OTHER_ENCODING),
        (with_weight(np.ones(1, np.int32)), Reason.SHAPE_OF_ONE),
        (with_weight(np.ones((4, 1), np.int32)), Reason.OTHER_SHAPE),
        (with_weight(np.ones(4, np.int32)), Reason.OTHER_SHAPE),
        (with_weight(np.ones((), np.int32)), Reason.OTHER_SHAPE),
        (encode({"bias": GOOD["bias"]}), Reason.MISSING_TENSOR),
        (encode({}), Reason.MISSING_TENSOR),
        (encode(GOOD | {"zz": GOOD["bias"]}), Reason.EXTRA_TENSOR),
        (encode(GOOD).replace(b'"weight"', b'"bias"  '), Reason.DUPLICATE_NAME),
        (encode(GOOD) + b"\x00", Reason.NOT_CANONICAL),
        (encode(GOOD)[:-1], Reason.NOT_CANONICAL),
        (encode(GOOD).replace(b"I32", b"i32"), Reason.NOT_NUMERIC),
        (encode(GOOD).replace(b'"shape":[2]', b'"shape":[ 2]', 1), Reason.NOT_CANONICAL),
        (b"", Reason.NOT_CANONICAL),
        (b"\x80\x04pickled", Reason.NOT_CANONICAL),
    ],
)
def test_each_fault_has_its_reason(update: bytes, reason: Reason) -> None:
    assert judged(update) is reason


@pytest.mark.parametrize(("fraction_bits", "width"), [(23, 32), (25, 32), (24, 64), (24, 16), (0, 0), (255, 255)])
def test_another_encoding_than_declared_is_refused(fraction_bits: int, width: int) -> None:
    assert judged(encode(GOOD), fraction_bits, width) is Reason.OTHER_ENCODING


def test_data_in_another_order_than_the_names_is_not_canonical() -> None:
    swapped = encode(GOOD).replace(b"[0,8]", b"[16,24]").replace(b"[8,24]", b"[0,16]")
    text = swapped[8:].partition(b"}}")[0] + b"}}"
    padded = text + b" " * (-len(text) % 8)
    assert judged(len(padded).to_bytes(8, "little") + padded + bytes(24)) is Reason.NOT_CANONICAL


@given(st.binary(max_size=200))
def test_arbitrary_bytes_get_a_reason(update: bytes) -> None:
    assert isinstance(judged(update), Reason)


@given(st.integers(0, 1 << 20), st.integers(1, 255))
def test_one_other_byte_gets_a_reason_or_other_values(position: int, flip: int) -> None:
    altered = bytearray(encode(GOOD))
    altered[position % len(altered)] ^= flip
    outcome = judged(bytes(altered))
    if not isinstance(outcome, Reason):
        assert any(not np.array_equal(outcome[name], GOOD[name]) for name in GOOD)


@given(int_arrays((2, 2)))
def test_every_value_but_the_least_int32_passes(weight: npt.NDArray[np.int32]) -> None:
    outcome = judged(encode({"bias": GOOD["bias"], "weight": weight}))
    assert (outcome is Reason.OUT_OF_RANGE) == bool((weight == -(2**31)).any())
