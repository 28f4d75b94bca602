from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.digest import tagged
from fedchain.core.envelope import HEADER_SIZE, Envelope, update_digest
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from tests.core.samples import FEW, bytes32, unhex, vectors

bytes_ = st.integers(0, 255)
envelopes = st.builds(Envelope, bytes32, bytes_, bytes_, st.binary(max_size=80))
SAMPLE = Envelope(bytes(range(32)), 24, 32, b"update")


@pytest.mark.parametrize("case", vectors("envelope")["cases"], ids=lambda case: case["fractionBits"])
def test_the_shared_vectors_come_out(case: dict[str, Any]) -> None:
    envelope = Envelope(unhex(case["salt"]), case["fractionBits"], case["width"], unhex(case["update"]))
    assert envelope.to_bytes() == unhex(case["bytes"])
    assert Envelope.from_bytes(unhex(case["bytes"])) == envelope
    assert envelope.commitment() == unhex(case["updateCommit"])
    assert update_digest(24, 32, b"x") != update_digest(24, 32, b"y")
    assert update_digest(envelope.fraction_bits, envelope.width, envelope.update) == unhex(case["updateDigest"])


def test_the_bytes_stand_where_the_table_has_them() -> None:
    header = b"FCENV" + b"\x01" + b"\x00" + b"\x00" + b"\x18" + b"\x20" + b"\x06\x00\x00\x00\x00\x00"
    assert len(header) == HEADER_SIZE
    assert SAMPLE.to_bytes() == header + bytes(range(32)) + b"update"


@FEW
@given(envelopes)
def test_envelopes_round_trip(envelope: Envelope) -> None:
    assert Envelope.from_bytes(envelope.to_bytes()) == envelope


@given(envelopes, st.data())
def test_one_other_byte_is_refused_or_breaks_the_commitment(envelope: Envelope, data: st.DataObject) -> None:
    altered = bytearray(envelope.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        read = Envelope.from_bytes(bytes(altered))
    except FormatError:
        return
    assert read.commitment() != envelope.commitment()


@FEW
@given(envelopes, envelopes)
def test_a_commitment_covers_salt_encoding_and_update(one: Envelope, other: Envelope) -> None:
    for field in dataclasses.fields(Envelope):
        changed = dataclasses.replace(one, **{field.name: getattr(other, field.name)})
        assert (changed.commitment() == one.commitment()) == (changed == one)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Envelope.from_bytes(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SAMPLE.to_bytes()[:15],
        SAMPLE.to_bytes()[:47],
        SAMPLE.to_bytes()[:-1],
        SAMPLE.to_bytes() + b"\x00",
        b"fcenv" + SAMPLE.to_bytes()[5:],
        b"FCENV\x02" + SAMPLE.to_bytes()[6:],
        b"FCENV\x01\x01" + SAMPLE.to_bytes()[7:],  # an algorithm to come
        b"FCENV\x01\x00\x14" + SAMPLE.to_bytes()[8:],  # segments in a plain envelope
    ],
    ids=lambda data: f"{len(data)} bytes, {data[:8].hex()}",
)
def test_any_other_header_or_length_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError, match="envelope"):
        Envelope.from_bytes(data)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_salt_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="salt"):
        Envelope(bytes(size), 24, 32, b"").to_bytes()


def test_an_envelope_declares_the_encoding_it_was_quantised_with() -> None:
    assert Envelope.of(bytes(32), FixedPoint(16), b"x") == Envelope(bytes(32), 16, 32, b"x")


@given(bytes32, bytes32, st.binary(max_size=40))
def test_equal_updates_have_equal_digests_whatever_their_salts(salt: bytes, other: bytes, update: bytes) -> None:
    assert update_digest(24, 32, update) == tagged("update", b"\x18\x20" + update)
    same = Envelope(salt, 24, 32, update).commitment() == Envelope(other, 24, 32, update).commitment()
    assert same == (salt == other)
