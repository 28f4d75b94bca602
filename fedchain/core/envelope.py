"""The payload's envelope: what a site hands over as the bytes of an update.

Header of 16 bytes: magic "FCENV", version 1, algorithm, log2 of the segment size, fraction bits, width, 6-byte
little-endian length of the update. Body: salt32 || update. Algorithm 0 is plain, as here; 1 is AES-256-GCM in segments,
with the same header as associated data (`fedchain.core.encryption`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedchain.core.digest import DIGEST_SIZE, Digest, commitment, tagged
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint

HEADER_SIZE: Final = 16
PLAIN: Final = 0
MAGIC: Final = b"FCENV\x01"


@dataclass(frozen=True, slots=True)
class Envelope:
    """An update's bytes with the salt of its commitment and its declared encoding."""

    salt: bytes
    fraction_bits: int
    width: int
    update: bytes

    @classmethod
    def of(cls, salt: bytes, encoding: FixedPoint, update: bytes) -> Envelope:
        """Wrap an update in the encoding it was quantised with."""
        return cls(salt, encoding.fraction_bits, encoding.width, update)

    def to_bytes(self) -> bytes:
        """Return header and body, unencrypted (algorithm 0)."""
        if len(self.salt) != DIGEST_SIZE:
            raise ValueError(f"salt: expected {DIGEST_SIZE} bytes, got {len(self.salt)}")
        return plain_header(self.fraction_bits, self.width, len(self.update)) + self.salt + self.update

    @classmethod
    def from_bytes(cls, data: bytes) -> Envelope:
        """Open an unencrypted envelope.

        Raises:
            FormatError: if the header is not the documented one or the length differs.
        """
        if len(data) < HEADER_SIZE + DIGEST_SIZE or not data.startswith(MAGIC):
            raise FormatError("payload envelope", expected="the magic FCENV, version 1", got=data[:6].hex())
        algorithm, segment, fraction_bits, width = data[6:10]
        if algorithm != PLAIN or segment != 0:
            raise FormatError("payload envelope", expected="algorithm 0 (plain)", got=f"{algorithm}, segment {segment}")
        size = int.from_bytes(data[10:16], "little")
        if len(data) != HEADER_SIZE + DIGEST_SIZE + size:
            raise FormatError("payload envelope", expected=f"an update of {size} bytes", got=len(data) - 48)
        return cls(data[16:48], fraction_bits, width, data[48:])

    def commitment(self) -> Digest:
        """Return the salted commitment to the update and its encoding, as signed in `updateCommit`."""
        return commitment("update-commit", self.salt, update_digest(self.fraction_bits, self.width, self.update))


def plain_header(fraction_bits: int, width: int, update_bytes: int) -> bytes:
    """Return the 16 bytes before the body of an unencrypted envelope."""
    return MAGIC + bytes([PLAIN, 0, fraction_bits, width]) + update_bytes.to_bytes(6, "little")


def update_digest(fraction_bits: int, width: int, update: bytes) -> Digest:
    """Return the digest of an update's canonical bytes and its encoding; equal updates have equal digests."""
    return tagged("update", bytes([fraction_bits, width]), update)
