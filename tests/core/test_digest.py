from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.digest import DIGEST_SIZE, ZERO, commitment, hex32, tagged
from tests.core.samples import FEW, bytes32

tags = st.from_regex("[a-z][a-z-]{0,12}", fullmatch=True)


@FEW
@given(tags, st.binary())
def test_a_digest_is_sha256_after_its_tag(tag: str, data: bytes) -> None:
    assert tagged(tag, data) == hashlib.sha256(b"fedchain/" + tag.encode() + b"/1\x00" + data).digest()
    assert len(tagged(tag, data)) == DIGEST_SIZE


@FEW
@given(tags, st.lists(st.binary(), max_size=4))
def test_parts_are_concatenated(tag: str, parts: list[bytes]) -> None:
    assert tagged(tag, *parts) == tagged(tag, b"".join(parts)) == tagged(tag, *(memoryview(part) for part in parts))


@given(tags, tags, st.binary(max_size=20), st.binary(max_size=20))
def test_two_kinds_of_things_never_share_a_digest(tag: str, other: str, data: bytes, other_data: bytes) -> None:
    assert (tagged(tag, data) == tagged(other, other_data)) == ((tag, data) == (other, other_data))


@FEW
@given(tags, bytes32, bytes32)
def test_a_commitment_hashes_the_salt_before_the_digest(tag: str, salt: bytes, digest: bytes) -> None:
    expected = hashlib.sha256(b"fedchain/" + tag.encode() + b"/1\x00" + salt + digest).digest()
    assert commitment(tag, salt, digest) == expected


@FEW
@given(bytes32, bytes32, bytes32)
def test_another_salt_gives_another_commitment(salt: bytes, other: bytes, digest: bytes) -> None:
    assert (commitment("x", salt, digest) == commitment("x", other, digest)) == (salt == other)


@pytest.mark.parametrize(("salt", "digest"), [(31, 32), (33, 32), (32, 31), (32, 33), (0, 64), (64, 0)])
def test_salt_and_digest_have_32_bytes_each(salt: int, digest: int) -> None:
    with pytest.raises(ValueError, match="32-byte"):
        commitment("x", bytes(salt), bytes(digest))


def test_a_tag_is_ascii() -> None:
    with pytest.raises(UnicodeEncodeError):
        tagged("mod\N{LATIN SMALL LETTER E WITH ACUTE}l")


def test_hex_has_its_prefix_and_zero_is_32_bytes() -> None:
    assert hex32(b"\x0a\xff") == "0x0aff"
    assert ZERO == b"\x00" * 32
