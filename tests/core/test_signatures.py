from __future__ import annotations

import contextlib

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from eth_account import Account
from eth_hash.auto import keccak
from eth_utils.address import to_checksum_address
from hypothesis import assume, given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.signatures import (
    ADDRESS_SIZE,
    P256_SIGNATURE_SIZE,
    SIGNATURE_SIZE,
    address_of,
    checksum_address,
    p256_signature,
    recover,
    sign,
)
from tests.core.samples import FEW, addresses, bytes32, secrets
from tests.doubles.p256 import P256Signer

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SECRET = bytes(31) + b"\x01"
DIGEST = bytes(range(32))


def twin(signature: bytes) -> bytes:
    """The other signature that the same curve point verifies: s negated, parity flipped."""
    s = ORDER - int.from_bytes(signature[32:64])
    return signature[:32] + s.to_bytes(32) + bytes([55 - signature[64]])


@FEW
@given(secrets, bytes32)
def test_a_signature_names_its_signer(secret: bytes, digest: bytes) -> None:
    assert recover(digest, sign(secret, digest)) == address_of(secret)


@FEW
@given(secrets, bytes32)
def test_eth_account_makes_and_reads_the_same_signatures(secret: bytes, digest: bytes) -> None:
    signature = sign(secret, digest)
    assert signature == bytes(Account.unsafe_sign_hash(digest, secret).signature)
    assert Account._recover_hash(digest, signature=signature) == checksum_address(address_of(secret))
    assert Account.from_key(secret).address == checksum_address(address_of(secret))


@FEW
@given(secrets, bytes32)
def test_signing_is_deterministic_and_never_malleable(secret: bytes, digest: bytes) -> None:
    signature = sign(secret, digest)
    assert sign(secret, digest) == signature
    assert len(signature) == SIGNATURE_SIZE
    assert signature[64] in (27, 28)
    assert int.from_bytes(signature[32:64]) <= ORDER // 2


@FEW
@given(secrets, bytes32)
def test_the_malleable_twin_is_refused(secret: bytes, digest: bytes) -> None:
    with pytest.raises(FormatError, match="malleable"):
        recover(digest, twin(sign(secret, digest)))


@FEW
@given(secrets, bytes32, bytes32)
def test_a_signature_of_another_digest_names_another_signer(secret: bytes, digest: bytes, other: bytes) -> None:
    assume(digest != other)
    with contextlib.suppress(FormatError):
        assert recover(other, sign(secret, digest)) != address_of(secret)


@given(secrets, bytes32, st.integers(0, SIGNATURE_SIZE - 1), st.integers(1, 255))
def test_a_signature_with_one_other_byte_is_refused_or_names_another_signer(
    secret: bytes, digest: bytes, position: int, flip: int
) -> None:
    altered = bytearray(sign(secret, digest))
    altered[position] ^= flip
    with contextlib.suppress(FormatError):
        assert recover(digest, bytes(altered)) != address_of(secret)


@FEW
@given(st.binary(max_size=70), bytes32)
def test_arbitrary_bytes_are_refused_or_name_somebody(signature: bytes, digest: bytes) -> None:
    with contextlib.suppress(FormatError):
        assert len(recover(digest, signature)) == ADDRESS_SIZE


@pytest.mark.parametrize("size", [0, 1, 64, 66, 130])
def test_a_signature_has_the_size_of_its_curve(size: int) -> None:
    with pytest.raises(FormatError, match="65 or 128 bytes"):
        recover(DIGEST, sign(SECRET, DIGEST)[:64].ljust(size, b"\x1b")[:size])


@pytest.mark.parametrize("v", [0, 1, 2, 26, 29, 35, 255])
def test_v_is_27_or_28(v: int) -> None:
    with pytest.raises(FormatError, match="27 or 28"):
        recover(DIGEST, sign(SECRET, DIGEST)[:64] + bytes([v]))


@pytest.mark.parametrize(
    ("r", "s"), [(0, 1), (1, 0), (0, 0), (ORDER, 1), (ORDER + 1, 1), (2**256 - 1, 1), (5, 1)], ids=str
)
def test_what_lies_off_the_curve_is_refused(r: int, s: int) -> None:
    for v in (27, 28):
        with pytest.raises(FormatError):
            recover(DIGEST, r.to_bytes(32) + s.to_bytes(32) + bytes([v]))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_digests_are_signed(size: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        sign(SECRET, bytes(size))
    with pytest.raises(FormatError):
        recover(bytes(size), sign(SECRET, DIGEST))


# ------------------------------------------------------------------ P-256

MODULE = P256Signer(b"a module")
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@FEW
@given(bytes32)
def test_a_p256_signature_names_the_address_of_the_key_beside_it(digest: bytes) -> None:
    signature = MODULE.sign(digest)
    assert len(signature) == P256_SIGNATURE_SIZE
    assert recover(digest, signature) == MODULE.address == keccak(MODULE.public)[12:]


@FEW
@given(bytes32)
def test_the_malleable_twin_of_p256_is_refused(digest: bytes) -> None:
    signature = MODULE.sign(digest)
    mirrored = P256_ORDER - int.from_bytes(signature[32:64])
    with pytest.raises(FormatError, match="malleable"):
        recover(digest, signature[:32] + mirrored.to_bytes(32) + signature[64:])


@FEW
@given(bytes32, st.integers(0, P256_SIGNATURE_SIZE - 1), st.integers(1, 255))
def test_a_p256_signature_with_one_other_byte_is_refused(digest: bytes, position: int, flip: int) -> None:
    altered = bytearray(MODULE.sign(digest))
    altered[position] ^= flip
    with pytest.raises(FormatError):
        recover(digest, bytes(altered))


@FEW
@given(st.binary(min_size=P256_SIGNATURE_SIZE, max_size=P256_SIGNATURE_SIZE), bytes32)
def test_arbitrary_bytes_are_no_p256_signature(signature: bytes, digest: bytes) -> None:
    with pytest.raises(FormatError):
        recover(digest, signature)


def test_a_p256_signature_of_another_digest_or_key_is_refused() -> None:
    signature, other = MODULE.sign(DIGEST), P256Signer(b"another")
    for digest, wrong in ((bytes(32), signature), (DIGEST, signature[:64] + other.public), (b"short", signature)):
        with pytest.raises(FormatError):
            recover(digest, wrong)


def test_a_module_that_signs_with_s_in_the_upper_half_is_mirrored() -> None:
    low = MODULE.sign(DIGEST)
    r, s = int.from_bytes(low[:32]), int.from_bytes(low[32:64])
    assert p256_signature(encode_dss_signature(r, P256_ORDER - s), MODULE.public) == low


@FEW
@given(addresses)
def test_checksums_are_those_of_eip_55(address: bytes) -> None:
    assert checksum_address(address) == to_checksum_address(address)


def test_a_published_address_comes_out() -> None:
    assert checksum_address(address_of(SECRET)) == "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"
