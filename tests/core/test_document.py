from __future__ import annotations

import dataclasses
import enum
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.digest import tagged
from fedchain.core.errors import FormatError
from fedchain.core.manifest import ArtifactRef, RoundManifest, TensorShape
from fedchain.core.policy import DataPolicy, DatasetCard
from fedchain.core.privacy import DpParams, Release
from fedchain.core.task import LocalTraining, UpdateHeader
from tests.core.samples import DOCUMENTS, FEW, documents, unhex, vectors


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass(frozen=True, slots=True)
class Sample:
    flag: bool
    maybe: int | None
    text: str
    data: bytes
    colour: Colour
    parts: tuple[Release, ...]
    table: dict[str, int]


SAMPLE = Sample(True, None, "a\u00e9\u20ac", b"\x00\xff", Colour.RED, (Release(1, 2, 3),), {"b": 2**53, "a": -1})
SAMPLE_BYTES = (
    b'{"colour":"red","data":"0x00ff","flag":true,"maybe":null,'
    b'"parts":[{"batches_per_epoch":2,"noise_multiplier_e6":1,"steps":3}],'
    b'"table":{"a":-1,"b":"9007199254740992"},"text":"a\xc3\xa9\xe2\x82\xac"}'
)
RELEASE = b'{"batches_per_epoch":2,"noise_multiplier_e6":1,"steps":3}'

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_a_document_is_json_with_sorted_keys_hex_bytes_and_no_space() -> None:
    assert document.to_bytes(SAMPLE) == SAMPLE_BYTES
    assert document.from_bytes(Sample, SAMPLE_BYTES) == SAMPLE


@pytest.mark.parametrize("cls", DOCUMENTS)
@FEW
@given(st.data())
def test_every_document_round_trips(cls: Any, data: st.DataObject) -> None:
    value = data.draw(documents(cls))
    assert document.from_bytes(cls, document.to_bytes(value)) == value


@FEW
@given(documents(Sample), documents(Sample))
def test_two_values_never_share_an_encoding(one: Sample, other: Sample) -> None:
    assert (document.to_bytes(one) == document.to_bytes(other)) == (one == other)


@given(st.integers(-(2**256), 2**256))
def test_integers_that_json_readers_would_round_are_strings(number: int) -> None:
    encoded = json.loads(document.to_bytes(Release(number, 0, 0)))["noise_multiplier_e6"]
    assert encoded == (number if abs(number) < 2**53 else str(number))


@pytest.mark.parametrize("case", vectors("documents")["cases"], ids=lambda case: case["document"])
def test_the_shared_vectors_come_out(case: dict[str, Any]) -> None:
    classes: dict[str, Any] = {cls.__name__: cls for cls in (DataPolicy, DatasetCard, DpParams, LocalTraining)}
    data = case["json"].encode()
    value = document.from_bytes(classes[case["document"]], data)
    assert document.to_bytes(value) == data
    assert value.digest() == tagged(case["tag"], data) == unhex(case["digest"])


def test_keys_are_sorted_as_rfc_8785_sorts_them() -> None:
    """The example of section 3.2.3: by UTF-16 code units, so an emoji comes before a ligature."""
    keys = ["\r", "1", "\x80", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    card = DatasetCard("", dict.fromkeys(reversed(keys), ""), 1)
    assert list(json.loads(document.to_bytes(card))["files"]) == keys
    assert document.from_bytes(DatasetCard, document.to_bytes(card)) == card


@pytest.mark.parametrize(
    "data",
    [
        RELEASE.replace(b":", b": "),
        RELEASE + b"\n",
        b" " + RELEASE,
        b"\xef\xbb\xbf" + RELEASE,
        RELEASE.decode().encode("utf-16"),
        RELEASE.decode().encode("utf-32-le"),
        b'{"steps":3,"noise_multiplier_e6":1,"batches_per_epoch":2}',
        RELEASE.replace(b'"steps":3', b'"steps":3,"steps":3'),
        RELEASE.replace(b'"steps":3', b'"steps":4,"steps":3'),
        RELEASE.replace(b'"steps":3', b'"steps":3,"z":0'),
        RELEASE.replace(b',"steps":3', b""),
        RELEASE.replace(b"steps", b"step\\u0073"),
        RELEASE.replace(b":3", b":3.0"),
        RELEASE.replace(b":3", b":3e0"),
        RELEASE.replace(b":3", b":03"),
        RELEASE.replace(b":3", b":-0"),
        RELEASE.replace(b":3", b":+3"),
        RELEASE.replace(b":3", b':"3"'),
        RELEASE.replace(b":3", b':"--3"'),
        RELEASE.replace(b":3", b':"-"'),
        RELEASE.replace(b":3", b':""'),
        RELEASE.replace(b":3", b':"0x3"'),
        RELEASE.replace(b":3", b':"9007199254740992\\n"'),
        RELEASE.replace(b":3", b':"09007199254740992"'),
        RELEASE.replace(b":3", b':"+9007199254740992"'),
        RELEASE.replace(b":3", b':" 9007199254740992"'),
        RELEASE.replace(b":3", b':"9_007_199_254_740_992"'),
        RELEASE.replace(b":3", ':"\u0669\u0660\u0660\u0667\u0661\u0669\u0669\u0662\u0665\u0664"'.encode()),
        RELEASE.replace(b":3", b":9007199254740992"),
        RELEASE.replace(b":3", b":" + b"9" * 5000),
        RELEASE.replace(b":3", b':"' + b"9" * 5000 + b'"'),
        RELEASE.replace(b":3", b":true"),
        RELEASE.replace(b":3", b":null"),
        RELEASE.replace(b":3", b":NaN"),
        RELEASE.replace(b":3", b":Infinity"),
        RELEASE.replace(b":3", b":[3]"),
        RELEASE.replace(b":3", b':{"steps":3}'),
        RELEASE[:-1],
        RELEASE + RELEASE,
        b"",
        b"null",
        b"[]",
        b'"0x"',
        b"\xff",
        b"[" * 100_000,
        b'{"steps":' * 100_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_any_other_encoding_is_refused(data: bytes) -> None:
    assert document.from_bytes(Release, RELEASE) == Release(1, 2, 3)
    with pytest.raises(FormatError):
        document.from_bytes(Release, data)


@pytest.mark.parametrize("digits", ["0x0", "0xAB", "ab", "0Xab", "0x ab", "0xzz", "", "0x\\u0061b"])
def test_bytes_are_lower_case_hex_of_whole_bytes(digits: str) -> None:
    assert document.from_bytes(ArtifactRef, b'{"cid":"","digest":"0xab"}') == ArtifactRef("", b"\xab")
    with pytest.raises(FormatError):
        document.from_bytes(ArtifactRef, b'{"cid":"","digest":"' + digits.encode() + b'"}')


@pytest.mark.parametrize(
    ("member", "other"),
    [
        (b'"red"', b'"blue"'),
        (b'"red"', b"1"),
        (b'"red"', b"[]"),
        (b"true", b"1"),
        (b"true", b'"true"'),
        (b"null", b'"null"'),
        (b"null", b"false"),
        (b"[{", b"{"),
        (b'{"a":-1', b"["),
        (b'"a":-1', b'"a":true'),
        (b'"text":"a', b'"text":["a'),
        (b'"a\xc3\xa9\xe2\x82\xac"', b"7"),
    ],
)
def test_each_type_takes_only_its_own_values(member: bytes, other: bytes) -> None:
    assert member in SAMPLE_BYTES
    with pytest.raises(FormatError):
        document.from_bytes(Sample, SAMPLE_BYTES.replace(member, other, 1))


@pytest.mark.parametrize("text", [b"\\ud800", b"\\udc00a", b"\xed\xa0\x80", b"a\x00", b"\x1f"])
def test_text_that_utf_8_cannot_hold_is_refused(text: bytes) -> None:
    with pytest.raises(FormatError):
        document.from_bytes(TensorShape, b'{"name":"' + text + b'","shape":[]}')
    with pytest.raises(FormatError):
        document.from_bytes(DatasetCard, b'{"files":{"' + text + b'":""},"name":"","nominal_size":1}')


@given(st.binary(max_size=60))
def test_arbitrary_bytes_are_refused_without_another_error(data: bytes) -> None:
    with pytest.raises(FormatError):
        document.from_bytes(Release, data)


@pytest.mark.parametrize("cls", [DpParams, UpdateHeader, RoundManifest])
@FEW
@given(st.data(), json_values)
def test_arbitrary_json_in_any_place_is_refused_or_means_what_it_says(
    cls: Any, data: st.DataObject, other: Any
) -> None:
    value = json.loads(document.to_bytes(data.draw(documents(cls))))
    value[data.draw(st.sampled_from(sorted(value)))] = other
    encoded = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        read = document.from_bytes(cls, encoded)
    except FormatError:
        return
    assert document.to_bytes(read) == encoded


@FEW
@given(st.data(), documents(Sample))
def test_one_other_byte_is_refused_or_changes_the_value(data: st.DataObject, value: Sample) -> None:
    encoded = bytearray(document.to_bytes(value))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = document.from_bytes(Sample, bytes(encoded))
    except FormatError:
        return
    assert read != value


@pytest.mark.parametrize("value", [1.0, {1, 2}, Release, object(), Release(0.5, 1, 1)])  # type: ignore[arg-type]
def test_what_has_no_one_encoding_cannot_be_encoded(value: object) -> None:
    with pytest.raises(TypeError, match="integers, strings and bytes"):
        document.to_bytes(value)


def test_an_error_names_the_place() -> None:
    with pytest.raises(FormatError, match=r"Sample\.parts\[0\]\.steps: expected an integer, got 'x'"):
        document.from_bytes(Sample, SAMPLE_BYTES.replace(b'"steps":3', b'"steps":"x"'))
    with pytest.raises(FormatError, match=r"Sample\.table\['b'\]"):
        document.from_bytes(Sample, SAMPLE_BYTES.replace(b'"9007199254740992"', b"[]"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text() | st.text('\x00\x1f\x7f\\"\n/~'),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)


@given(JSON)
@example({"\U0001f600": 1, "\uffff": 2})
@example("\x7f\x1f\u2028")
def test_every_value_is_encoded_as_the_reference_does(value: object) -> None:
    assert document.to_bytes(value) == rfc8785.dumps(value)  # type: ignore[arg-type]  # any JSON value
