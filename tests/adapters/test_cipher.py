from __future__ import annotations

import hashlib
import os
from itertools import pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.adapters import cipher
from fedchain.adapters.cipher import Opener, wrapped_keys
from fedchain.core.encryption import (
    SEGMENT_BYTES,
    TAG_BYTES,
    EncryptedHeader,
    KeyContext,
    WrappedKey,
    WrappedKeys,
    is_encrypted,
)
from fedchain.core.envelope import HEADER_SIZE, Envelope
from fedchain.core.errors import FormatError, LockedArtifactError
from tests.core.samples import unhex, vectors

KEY, OTHER_KEY = b"\x0b" * 32, b"\x0c" * 32
CONTEXT = KeyContext(b"\xfe" * 32, b"\x0a" * 32, 3, b"\xda" * 32)
ARTIFACT = b"\xc1" * 32
SALT = bytes(range(32))
LARGE = os.urandom(3 * SEGMENT_BYTES + 100)
SIZES = [0, 1, SEGMENT_BYTES - 33, SEGMENT_BYTES - 32, SEGMENT_BYTES - 31, 3 * SEGMENT_BYTES - 32, len(LARGE)]


def envelope(size: int) -> Envelope:
    return Envelope(SALT, 24, 32, LARGE[:size])


@pytest.mark.parametrize("size", SIZES)
def test_an_envelope_comes_back(size: int) -> None:
    data = cipher.encrypt(envelope(size), KEY)
    assert is_encrypted(data)
    assert len(data) == EncryptedHeader.of(data).total_bytes
    assert cipher.decrypt(data, KEY) == envelope(size)


def test_the_segments_are_what_the_format_says() -> None:
    """Read with nothing but AES-GCM: 11 bytes of number, 1 byte of last, the header as associated data."""
    data = cipher.encrypt(envelope(SEGMENT_BYTES), KEY)
    header, first, last = data[:16], data[16 : 16 + SEGMENT_BYTES + 16], data[16 + SEGMENT_BYTES + 16 :]
    assert header == b"FCENV\x01\x01\x14\x18\x20" + SEGMENT_BYTES.to_bytes(6, "little")
    body = AESGCM(KEY).decrypt(bytes(12), first, header) + AESGCM(KEY).decrypt(bytes(10) + b"\x01\x01", last, header)
    assert body == SALT + LARGE[:SEGMENT_BYTES]


@settings(max_examples=30)
@given(st.lists(st.binary(max_size=400), max_size=8), st.integers(1, 100))
def test_it_does_not_matter_how_parts_are_cut(parts: list[bytes], step: int) -> None:
    content = b"".join(parts)
    header = EncryptedHeader(0, 0, len(content))
    data = b"".join(cipher.encrypted(header, [SALT, *parts], KEY))
    assert data == cipher.encrypt(Envelope(SALT, 0, 0, content), KEY)
    pieces = [data[start : start + step] for start in range(0, len(data), step)]
    assert b"".join(cipher.decrypted(pieces, KEY)) == SALT + content


@given(st.integers(0, 200), st.integers(1, 255))
def test_one_other_byte_does_not_open(place: int, change: int) -> None:
    data = bytearray(cipher.encrypt(envelope(200), KEY))
    data[place] ^= change
    with pytest.raises(FormatError, match="envelope"):
        cipher.decrypt(bytes(data), KEY)


def segments() -> tuple[bytes, list[bytes]]:
    data = cipher.encrypt(Envelope(SALT, 24, 32, LARGE), KEY)
    places = [*range(HEADER_SIZE, len(data), SEGMENT_BYTES + TAG_BYTES), len(data)]
    return data[:HEADER_SIZE], [data[start:end] for start, end in pairwise(places)]


def test_truncated_reordered_repeated_and_extended_segments_do_not_open() -> None:
    header, parts = segments()
    shorter = EncryptedHeader(24, 32, 3 * SEGMENT_BYTES - 32).to_bytes()
    longer = EncryptedHeader(24, 32, 5 * SEGMENT_BYTES).to_bytes()
    one, two, three, last = parts
    for hostile in (
        header + one + two + three,
        header + one + two + three + last[:-1],
        header + one + two + three + last + b"\0",
        header + two + one + three + last,
        header + one + one + three + last,
        header + one + two + three + last + last,
        header + one + two + last,
        shorter + one + two + three,
        longer + one + two + three + last,
        header,
        header[:15],
        b"",
    ):
        with pytest.raises(FormatError, match="envelope"):
            cipher.decrypt(hostile, KEY)


def test_a_segment_of_another_envelope_does_not_open() -> None:
    other = cipher.encrypt(Envelope(SALT, 24, 32, LARGE[::-1]), OTHER_KEY)
    header, (one, two, three, _) = segments()
    with pytest.raises(FormatError, match="envelope"):
        cipher.decrypt(header + one + two + three + other[-len(segments()[1][3]) :], KEY)


def test_another_key_does_not_open() -> None:
    with pytest.raises(FormatError, match="under this key"):
        cipher.decrypt(cipher.encrypt(envelope(10), KEY), OTHER_KEY)


def test_a_body_of_another_length_than_its_header_is_not_encrypted() -> None:
    for size in (9, 11, SEGMENT_BYTES + 10):
        with pytest.raises(ValueError, match="segment"):
            list(cipher.encrypted(EncryptedHeader(0, 0, 10), [SALT, bytes(size)], KEY))


@pytest.mark.parametrize("case", vectors("encryption")["envelopes"], ids=lambda case: case["contentBytes"])
def test_the_shared_vectors_come_out(case: dict[str, Any]) -> None:
    content = hashlib.shake_256(b"content").digest(case["contentBytes"])
    data = cipher.encrypt(Envelope(unhex(case["salt"]), 24, 32, content), unhex(case["dataKey"]))
    assert hashlib.sha256(data).digest() == unhex(case["sha256"])
    assert "bytes" not in case or data == unhex(case["bytes"])


# ------------------------------------------------------------------ wrapped keys


def test_a_key_that_another_implementation_wrapped_opens() -> None:
    case = vectors("encryption")["wrapped"]
    context = KeyContext(unhex(case["federation"]), unhex(case["run"]), case["round"], unhex(case["dataset"]))
    reader = Opener.of(unhex(case["secretKey"]))
    assert context.info(unhex(case["artifact"])) == unhex(case["info"])
    assert (reader.public_key, reader.recipient) == (unhex(case["publicKey"]), unhex(case["recipient"]))
    keys = WrappedKeys(context, (WrappedKey(reader.recipient, unhex(case["wrapped"])),))
    assert reader.data_key(keys, unhex(case["artifact"])) == unhex(case["dataKey"])


def test_each_recipient_opens_its_own_key_and_nobody_else() -> None:
    readers = [Opener.of(bytes([number]) * 32) for number in (1, 2, 3)]
    keys = wrapped_keys(KEY, ARTIFACT, CONTEXT, [each.public_key for each in readers])
    assert [each.data_key(keys, ARTIFACT) for each in readers] == [KEY] * 3
    with pytest.raises(LockedArtifactError, match="no data key"):
        Opener.of(b"\x09" * 32).data_key(keys, ARTIFACT)
    with pytest.raises(LockedArtifactError, match="no data key"):
        readers[1].data_key(keys.only(readers[0].recipient), ARTIFACT)


@pytest.mark.parametrize("field", ["federation", "run", "round", "dataset", "artifact"])
def test_a_wrapped_key_opens_for_nothing_else(field: str) -> None:
    reader = Opener.of(b"\x01" * 32)
    artifact = ARTIFACT if field != "artifact" else b"\xc2" * 32
    values = {"federation": CONTEXT.federation, "run": CONTEXT.run, "round": 3, "dataset": CONTEXT.dataset}
    values |= {field: 4 if field == "round" else b"\x99" * 32} if field != "artifact" else {}
    elsewhere = KeyContext(**values)  # type: ignore[arg-type]  # one field is of another value, none of another type
    keys = wrapped_keys(KEY, ARTIFACT, CONTEXT, [reader.public_key])
    moved = type(keys)(elsewhere, keys.keys)
    with pytest.raises(LockedArtifactError, match="for something else"):
        reader.data_key(moved, artifact)


@given(st.binary(max_size=100))
def test_arbitrary_bytes_are_no_wrapped_key(data: bytes) -> None:
    reader = Opener.of(b"\x01" * 32)
    keys = wrapped_keys(KEY, ARTIFACT, CONTEXT, [reader.public_key])
    (only,) = keys.keys
    with pytest.raises(LockedArtifactError, match="for something else"):
        reader.data_key(type(keys)(CONTEXT, (type(only)(only.recipient, data),)), ARTIFACT)


def test_a_secret_is_in_no_representation() -> None:
    secret = b"\x01" * 32
    assert secret.hex() not in repr(Opener.of(secret))
    assert Opener.of(secret).public_key == X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
