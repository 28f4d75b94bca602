"""Encrypted envelopes: how their bytes are laid out, and what a wrapped key is bound to. Pure: no cipher is in here.

The body of an envelope, salt32 || content, is cut into segments of 1 MiB. Each is AES-256-GCM under one data key that
no other envelope has, with the 16-byte header as associated data and the nonce 11-byte big-endian segment number ||
1 where it is the last. That is STREAM of Hoang, Reyhanitabar, Rogaway and Vizar (CRYPTO 2015,
https://eprint.iacr.org/2015/189) with an empty nonce prefix, which a key of its own allows: segments that are cut off,
exchanged, repeated or added do not open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedchain.core.digest import DIGEST_SIZE, Digest, tagged
from fedchain.core.envelope import HEADER_SIZE, MAGIC
from fedchain.core.errors import FormatError

AES_256_GCM: Final = 1
SEGMENT_LOG2: Final = 20
SEGMENT_BYTES: Final = 1 << SEGMENT_LOG2
"""The size that `core.cid.cut` cuts into, too."""
TAG_BYTES: Final = 16
NO_ENCRYPTION: Final = "none"
HPKE_AES_256_GCM: Final = "hpke-x25519-aes-256-gcm"
"""The names of the two ways that a run's payloads are kept, as its manifest has them."""
MOST_KEYS_BYTES: Final = 1 << 14
"""What comes as wrapped keys and is longer is not read: about sixty recipients."""
_PREFIX: Final = MAGIC + bytes([AES_256_GCM])


@dataclass(frozen=True, slots=True)
class EncryptedHeader:
    """The header of an encrypted envelope. What is no update has 0 fraction bits and width 0."""

    fraction_bits: int
    width: int
    content_bytes: int

    @classmethod
    def of(cls, data: bytes | memoryview) -> EncryptedHeader:
        """Read the header at the beginning of `data`.

        Raises:
            FormatError: if it is none, or of another segment size.
        """
        header = bytes(data[:HEADER_SIZE])
        if len(header) < HEADER_SIZE or not header.startswith(_PREFIX) or header[7] != SEGMENT_LOG2:
            raise FormatError(
                "encrypted envelope", expected=f"a header {(_PREFIX + bytes([SEGMENT_LOG2])).hex()}...",
                got=header.hex() or "nothing",
            )  # fmt: skip
        return cls(header[8], header[9], int.from_bytes(header[10:], "little"))

    def to_bytes(self) -> bytes:
        """Return the 16 bytes."""
        tail = bytes([SEGMENT_LOG2, self.fraction_bits, self.width]) + self.content_bytes.to_bytes(6, "little")
        return _PREFIX + tail

    @property
    def body_bytes(self) -> int:
        """Bytes of salt and content."""
        return DIGEST_SIZE + self.content_bytes

    @property
    def segments(self) -> int:
        """How many segments the body has."""
        return -(-self.body_bytes // SEGMENT_BYTES)

    @property
    def total_bytes(self) -> int:
        """Bytes of the whole encrypted envelope."""
        return HEADER_SIZE + self.body_bytes + self.segments * TAG_BYTES

    def nonce(self, number: int) -> bytes:
        """Return the nonce of a segment, counted from 0."""
        return number.to_bytes(11, "big") + bytes([number == self.segments - 1])


def is_encrypted(data: bytes | memoryview) -> bool:
    """Tell whether stored bytes are an encrypted envelope, by their beginning."""
    return bytes(data[: len(_PREFIX)]) == _PREFIX


@dataclass(frozen=True, slots=True)
class KeyContext:
    """What a data key belongs to. All is zero for an artifact that is no update: then its CID alone is bound."""

    federation: bytes
    run: bytes
    round: int
    dataset: bytes

    def info(self, artifact: Digest) -> bytes:
        """Return the `info` of HPKE (RFC 9180, section 5.1) for the key of the artifact with this CID digest."""
        place = self.federation + self.run + self.round.to_bytes(8, "big") + self.dataset
        return b"fedchain/data-key/1\0" + place + artifact


ARTIFACT: Final = KeyContext(bytes(32), bytes(32), 0, bytes(32))


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key for one recipient: the id of its public key, and HPKE's 32-byte encapsulation || 48-byte box."""

    recipient: bytes
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class WrappedKeys:
    """A data key for each of its recipients. It travels beside a payload and never enters the store."""

    context: KeyContext
    keys: tuple[WrappedKey, ...]

    def of(self, recipient: bytes) -> bytes | None:
        """Return what is wrapped for a recipient, or None."""
        return next((each.wrapped for each in self.keys if each.recipient == recipient), None)

    def only(self, recipient: bytes) -> WrappedKeys:
        """Return these keys without those of others."""
        return WrappedKeys(self.context, tuple(each for each in self.keys if each.recipient == recipient))


def key_id(public_key: bytes) -> Digest:
    """Return the id of a recipient's 32-byte X25519 public key."""
    return tagged("reader", public_key)
