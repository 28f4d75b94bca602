"""Signatures over 32-byte digests: secp256k1, and P-256 for keys that live in a TPM or an HSM.

A secp256k1 signature is 65 bytes r || s || v, with v in {27, 28}; ours are deterministic (RFC 6979). A P-256 signature
(FIPS 186-5) is 128 bytes r || s || x || y and brings its public key; its address is made of x || y as that of a
secp256k1 key is. A signature with s in the upper half is refused as malleable (EIP-2), so that nobody but the owner of
the key can make a second signature of a message.
"""

from __future__ import annotations

from typing import Final

import coincurve
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from eth_hash.auto import keccak

from fedchain.core.digest import Digest
from fedchain.core.errors import FormatError

SIGNATURE_SIZE: Final = 65
P256_SIGNATURE_SIZE: Final = 128
ADDRESS_SIZE: Final = 20
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_P256_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_P256_DIGEST: Final = Prehashed(SHA256())


def sign(secret: bytes, digest: Digest) -> bytes:
    """Sign a 32-byte digest with a 32-byte secret key."""
    key = coincurve.PrivateKey(secret)
    raw = key.sign_recoverable(digest, hasher=None)  # pyright: ignore[reportUnknownMemberType] # its nonce is untyped
    return raw[:64] + bytes([27 + raw[64]])


def address_of(secret: bytes) -> bytes:
    """Return the 20-byte EVM address of a 32-byte secret key."""
    return _address(coincurve.PrivateKey(secret).public_key)


def recover(digest: Digest, signature: bytes) -> bytes:
    """Return the address whose key made `signature` over `digest`.

    Raises:
        FormatError: if the signature has another length, is malleable, or is no signature at all.
    """
    if len(signature) == P256_SIGNATURE_SIZE:
        return _p256_signer(digest, signature)
    if len(signature) != SIGNATURE_SIZE:
        raise FormatError("signature", expected=f"{SIGNATURE_SIZE} or {P256_SIGNATURE_SIZE} bytes", got=len(signature))
    if signature[64] not in (27, 28):
        raise FormatError("signature", expected="v of 27 or 28", got=signature[64])
    if int.from_bytes(signature[32:64]) > _HALF_ORDER:
        raise FormatError("signature is malleable", expected="s in the lower half", got="s in the upper half")
    try:
        key = coincurve.PublicKey.from_signature_and_message(
            signature[:64] + bytes([signature[64] - 27]), digest, hasher=None
        )
    except ValueError as error:
        raise FormatError("signature", expected="a point of secp256k1", got=str(error)) from error
    return _address(key)


def p256_address(public: bytes) -> bytes:
    """Return the 20-byte address that stands for a P-256 key, x || y in 64 bytes."""
    return keccak(public)[-ADDRESS_SIZE:]


def p256_signature(der: bytes, public: bytes) -> bytes:
    """Return the 128 bytes for a signature as hardware makes it (DER, s in either half), with its public key x || y."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(32) + min(s, _P256_ORDER - s).to_bytes(32) + public


def _p256_signer(digest: Digest, signature: bytes) -> bytes:
    r, s, x, y = (int.from_bytes(signature[first : first + 32]) for first in range(0, P256_SIGNATURE_SIZE, 32))
    if s > _P256_ORDER // 2:
        raise FormatError("signature is malleable", expected="s in the lower half", got="s in the upper half")
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        key.verify(encode_dss_signature(r, s), digest, ec.ECDSA(_P256_DIGEST))
    except (InvalidSignature, ValueError) as error:
        raise FormatError("signature", expected="one of P-256 by the key beside it", got="another") from error
    return p256_address(signature[64:])


def _address(key: coincurve.PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[-ADDRESS_SIZE:]


def checksum_address(address: bytes) -> str:
    """Return the EIP-55 text of a 20-byte address."""
    lower = address.hex()
    nibbles = keccak(lower.encode()).hex()
    return "0x" + "".join(c.upper() if int(n, 16) >= 8 else c for c, n in zip(lower, nibbles, strict=False))
