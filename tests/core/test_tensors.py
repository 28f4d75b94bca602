from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from fedchain.core.digest import tagged
from fedchain.core.errors import FormatError
from fedchain.core.tensors import (
    MAX_HEADER,
    DuplicateNameError,
    Entry,
    IntTensors,
    TensorSchema,
    decode,
    encode,
    model_digest,
    read_header,
)
from tests.core.samples import FEW, int_tensors, unhex, vectors

VECTORS = vectors("tensors")["cases"]
TWO: IntTensors = {"b": np.array([2], np.int32), "a": np.array([[1, -1]], np.int32)}


def framed(header: str | bytes, data: bytes = b"", padding: int | None = None) -> bytes:
    """A safetensors file with any header; by default padded as the canonical one."""
    text = header.encode() if isinstance(header, str) else header
    text += b" " * (-len(text) % 8 if padding is None else padding)
    return len(text).to_bytes(8, "little") + text + data


def header_of(**changes: Any) -> str:
    entry = {"dtype": "I32", "shape": [1], "data_offsets": [0, 4]} | changes
    return json.dumps({"a": entry}, separators=(",", ":"))


def equal(one: IntTensors, other: IntTensors) -> bool:
    return TensorSchema.of(one) == TensorSchema.of(other) and all(np.array_equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_the_shared_vectors_come_out(case: dict[str, Any]) -> None:
    tensors = {
        name: np.array(each["values"], np.int32).reshape(each["shape"]) for name, each in case["tensors"].items()
    }
    assert encode(tensors) == unhex(case["bytes"])
    assert equal(decode(unhex(case["bytes"])), tensors)
    assert model_digest(unhex(case["bytes"])) == unhex(case["modelDigest"])


@FEW
@given(int_tensors)
def test_the_bytes_are_those_of_the_safetensors_library(tensors: IntTensors) -> None:
    assert encode(tensors) == save(tensors)


@FEW
@given(int_tensors)
def test_tensors_round_trip(tensors: IntTensors) -> None:
    read = decode(encode(tensors))
    assert equal(read, tensors)
    assert equal(read, load(encode(tensors)))
    assert [array.dtype for array in read.values()] == [np.int32] * len(tensors)


@FEW
@given(int_tensors, int_tensors)
def test_two_sets_of_tensors_never_share_bytes(one: IntTensors, other: IntTensors) -> None:
    assert (encode(one) == encode(other)) == equal(one, other)


@FEW
@given(int_tensors, st.randoms(use_true_random=False))
def test_the_order_of_a_mapping_does_not_matter(tensors: IntTensors, random: Any) -> None:
    names = random.sample(sorted(tensors), len(tensors))
    assert encode({name: tensors[name] for name in names}) == encode(tensors)


@FEW
@given(int_tensors, st.data())
def test_one_other_byte_is_refused_or_changes_value_and_digest(tensors: IntTensors, data: st.DataObject) -> None:
    encoded = encode(tensors)
    altered = bytearray(encoded)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    assert model_digest(bytes(altered)) != model_digest(encoded)
    try:
        read = decode(bytes(altered))
    except FormatError:
        return
    assert not equal(read, tensors)


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data)


@given(st.text(max_size=60), st.binary(max_size=9))
def test_an_arbitrary_header_is_refused(header: str, data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(framed(header + "\x00", data))


@FEW
@given(int_tensors, st.data())
def test_bytes_that_break_off_or_go_on_are_refused(tensors: IntTensors, data: st.DataObject) -> None:
    encoded = encode(tensors)
    with pytest.raises(FormatError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])
    with pytest.raises(FormatError):
        decode(encoded + b"\x00")


A = '"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}'
B = '"b":{"dtype":"I32","shape":[1],"data_offsets":[4,8]}'


@pytest.mark.parametrize(
    "data",
    [
        framed("{" + B.replace("4,8", "0,4") + "," + A.replace("0,4", "4,8") + "}", bytes(8)),  # names out of order
        framed("{" + A.replace("0,4", "4,8") + "," + B.replace("4,8", "0,4") + "}", bytes(8)),  # data out of order
        framed("{" + A + "," + B.replace("4,8", "5,9") + "}", bytes(9)),  # a gap
        framed("{" + A + "," + B.replace("4,8", "0,4") + "}", bytes(4)),  # shared data
        framed("{" + A + "," + B.replace("4,8", "3,7") + "}", bytes(7)),  # an overlap
        framed("{" + A + "," + B.replace("4,8", "8,4") + "}", bytes(8)),
        framed("{" + A + "," + B + "}", bytes(7)),
        framed("{" + A + "," + B + "}", bytes(9)),
        framed("{" + A + "}", bytes(4), padding=12),  # eight spaces more than needed
        framed("{" + A + "}", bytes(4), padding=0),
        framed(" {" + A + "}", bytes(4)),
        framed("{" + A.replace(":1", ": 1") + " }", bytes(4)),
        framed("{" + A.replace('"a"', '"\\u0061"') + "}", bytes(4)),
        framed("{" + A.replace('"a"', '"\\ud800"') + "}", bytes(4)),
        framed(b"{" + A.encode().replace(b'"a"', b'"\xff"') + b"}", bytes(4)),
        framed("{" + A + ',"__metadata__":{}}', bytes(4)),
        framed("{" + A + ',"__metadata__":{"format":"pt"}}', bytes(4)),
        framed("{" + A.replace('"a"', '"__metadata__"') + "}", bytes(4)),
        framed("{" + A.replace('"shape":[1],"data_offsets":[0,4]', '"data_offsets":[0,4],"shape":[1]') + "}", bytes(4)),
        framed(header_of(data_offsets=[False, 4]), bytes(4)),  # Python takes false for 0
        framed(header_of(shape=[True]), bytes(4)),
        framed(header_of(shape=[1.0]), bytes(4)),
        framed(header_of(shape=[-1], data_offsets=[0, -4]), b""),
        framed(header_of(shape=[2**31, 0], data_offsets=[0, 0]), b""),
        framed(header_of(shape=[10**12], data_offsets=[0, 4 * 10**12]), bytes(4)),
        framed(header_of(shape=[2]), bytes(4)),
        framed(header_of(shape=1), bytes(4)),
        framed(header_of(data_offsets=[0]), bytes(4)),
        framed(header_of(data_offsets=[-4, 0]), bytes(4)),
        framed(header_of(data_offsets=["0", "4"]), bytes(4)),
        framed(header_of(dtype="F32"), bytes(4)),
        framed(header_of(dtype="i32"), bytes(4)),
        framed(header_of(dtype=7), bytes(4)),
        framed(header_of(extra=1), bytes(4)),
        framed('{"a":null}'),
        framed('{"a":[]}'),
        framed("[]"),
        framed("null"),
        framed("7"),
        framed(""),
        framed("{" + '"a":{' * 50_000),
        framed("[" * 100_000),
        b"",
        bytes(7),
        (2**63).to_bytes(8, "little") + b"{}",
        (MAX_HEADER + 8).to_bytes(8, "little") + b"{}".ljust(MAX_HEADER + 8),
    ],
    ids=lambda data: repr(data[8:60]),
)
def test_any_other_form_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        decode(data)


def test_the_forms_above_differ_from_these_in_one_place() -> None:
    assert list(decode(framed("{" + A + "," + B + "}", bytes(8)))) == ["a", "b"]
    assert list(decode(framed(header_of(), bytes(4)))) == ["a"]


@pytest.mark.parametrize("header", ["{" + A + "," + A + "}", "{" + A.replace(":[1]", ':[1],"dtype":"I32"') + "}"])
def test_a_name_that_stands_twice_is_told_apart(header: str) -> None:
    with pytest.raises(DuplicateNameError):
        read_header(framed(header, bytes(4)))


def test_a_header_is_read_before_its_types_are_judged() -> None:
    half = header_of(dtype="F16", shape=[3], data_offsets=[0, 6])
    assert read_header(framed(half, bytes(6))) == (Entry("a", "F16", (3,), 0, 6),)
    assert read_header(framed(header_of(dtype="X9"), bytes(4))) == (Entry("a", "X9", (1,), 0, 4),)


@pytest.mark.parametrize(
    "data",
    [
        framed(header_of(dtype="F32", data_offsets=[4, 8]), bytes(8)),  # a gap
        framed(header_of(dtype="F64", data_offsets=[8, 16]), bytes(8)),  # past the end
        framed(header_of(dtype="X9", data_offsets=[0, 5]), bytes(4)),
        (MAX_HEADER + 8).to_bytes(8, "little") + b"{}".ljust(MAX_HEADER + 8),
    ],
    ids=["gap", "past the end", "longer", "long header"],
)
def test_a_header_says_where_all_data_lie_whatever_their_type(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_header(data)


def test_any_memory_layout_is_encoded_by_value() -> None:
    grid = np.arange(12, dtype=np.int32).reshape(3, 4)
    for view in (grid.T, grid[::2], grid[:, ::-1], np.asfortranarray(grid), np.broadcast_to(grid[0], (2, 4))):
        assert encode({"a": view}) == encode({"a": np.array(view.tolist(), np.int32)})


@pytest.mark.parametrize("dtype", ["int64", "int16", "uint32", "float32", "bool", ">i4"])
def test_only_little_endian_int32_is_encoded(dtype: str) -> None:
    array: npt.NDArray[Any] = np.zeros(2, dtype)
    with pytest.raises(ValueError, match="int32"):
        encode({"a": array})


def test_metadata_is_no_tensor() -> None:
    with pytest.raises(ValueError, match="__metadata__"):
        encode({"__metadata__": np.zeros(1, np.int32)})


def test_decoded_tensors_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        decode(encode(TWO))["a"][0] = 7


def test_a_schema_is_names_in_byte_order_with_their_shapes() -> None:
    schema = TensorSchema.of(TWO)
    assert (schema.names, schema.shapes, schema.parameters) == (("a", "b"), ((1, 2), (1,)), 3)
    letters = {name: np.zeros(0, np.int32) for name in ("\U0001f9ec", "\uffee", "z")}
    assert TensorSchema.of(letters).names == ("z", "\uffee", "\U0001f9ec")
    assert TensorSchema.of({}).parameters == 0


def test_a_model_digest_has_its_tag() -> None:
    assert model_digest(b"x") == tagged("model", b"x") == hashlib.sha256(b"fedchain/model/1\x00x").digest()
