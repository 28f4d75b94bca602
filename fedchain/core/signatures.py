"""secp256k1 signatures over 32-byte digests, 65 bytes r || s || v, with v in {27, 28} and s in the lower half.

Signing is deterministic (RFC 6979). A signature with s in the upper half is refused as malleable (EIP-2), so that
nobody but the owner of the key can make a second signature of a message.
"""

from __future__ import annotations

from typing import Final

import coincurve
from eth_hash.auto import keccak

from fedchain.core.digest import Digest
from fedchain.core.errors import FormatError

SIGNATURE_SIZE: Final = 65
ADDRESS_SIZE: Final = 20
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


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
    if len(signature) != SIGNATURE_SIZE:
        raise FormatError("signature", expected=f"{SIGNATURE_SIZE} bytes", got=len(signature))
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


def _address(key: coincurve.PublicKey) -> bytes:
    return keccak(key.format(compressed=False)[1:])[-ADDRESS_SIZE:]


def checksum_address(address: bytes) -> str:
    """Return the EIP-55 text of a 20-byte address."""
    lower = address.hex()
    nibbles = keccak(lower.encode()).hex()
    return "0x" + "".join(c.upper() if int(n, 16) >= 8 else c for c, n in zip(lower, nibbles, strict=False))
