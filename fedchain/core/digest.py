"""Domain-separated sha2-256 digests and salted commitments.

A digest of one kind of thing can never be taken for another: every preimage starts with its tag. What is low in
entropy or must be erasable is committed with a 32-byte salt, so that deleting the salt severs the link.
"""

from __future__ import annotations

import hashlib
from typing import Final, TypeAlias

Digest: TypeAlias = bytes
"""32 bytes."""

DIGEST_SIZE: Final = 32
ZERO: Final[Digest] = bytes(DIGEST_SIZE)


def tagged(tag: str, *parts: bytes | memoryview) -> Digest:
    """Return sha256(b"fedchain/" + tag + b"/1" + NUL + parts).

    The tag holds no NUL, so the prefix is unambiguous; parts are concatenated and must be of fixed size, all but one.
    """
    hasher = hashlib.sha256(b"fedchain/" + tag.encode("ascii") + b"/1\0")
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def commitment(tag: str, salt: bytes, digest: Digest) -> Digest:
    """Return the salted commitment sha256(tag || salt32 || digest32)."""
    if len(salt) != DIGEST_SIZE or len(digest) != DIGEST_SIZE:
        raise ValueError(f"a commitment takes 32-byte values, got {len(salt)} and {len(digest)}")
    return tagged(tag, salt, digest)


def hex32(digest: bytes) -> str:
    """Return the 0x-prefixed hex of bytes."""
    return "0x" + digest.hex()
