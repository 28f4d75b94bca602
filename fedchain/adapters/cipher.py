"""Data keys at work: AES-256-GCM over the segments of an envelope, and HPKE that wraps its key for each reader.

Both are `cryptography`'s (OpenSSL). HPKE is RFC 9180 in base mode with DHKEM(X25519, HKDF-SHA256), HKDF-SHA256 and
AES-256-GCM. What a wrapped key is bound to stands in `fedchain.core.encryption.KeyContext`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from fedchain.core.cid import BytesLike, cut
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.encryption import (
    SEGMENT_BYTES,
    TAG_BYTES,
    EncryptedHeader,
    KeyContext,
    WrappedKey,
    WrappedKeys,
    key_id,
)
from fedchain.core.envelope import HEADER_SIZE, Envelope
from fedchain.core.errors import FormatError, LockedArtifactError

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_BATCH: Final = 4
"""Segments that are handed out together."""


@dataclass(frozen=True, slots=True)
class Opener:
    """A reader's private key; its secret is in no representation of it."""

    recipient: Digest
    _private: X25519PrivateKey = field(repr=False)

    @classmethod
    def of(cls, secret: bytes) -> Opener:
        """Return the reader of a 32-byte secret."""
        private = X25519PrivateKey.from_private_bytes(secret)
        return cls(key_id(private.public_key().public_bytes_raw()), private)

    @property
    def public_key(self) -> bytes:
        """The 32-byte public key that others wrap for."""
        return self._private.public_key().public_bytes_raw()

    def data_key(self, keys: WrappedKeys, artifact: Digest) -> bytes:
        """Return the data key of the artifact with this CID digest.

        Raises:
            LockedArtifactError: if none is wrapped for this reader, or it was wrapped for something else.
        """
        wrapped = keys.of(self.recipient)
        if wrapped is None:
            raise LockedArtifactError("no data key is wrapped for this reader", got=f"{len(keys.keys)} for others")
        try:
            return _SUITE.decrypt(wrapped, self._private, info=keys.context.info(artifact))
        except (InvalidTag, ValueError) as error:
            raise LockedArtifactError("the data key that is wrapped for this reader is for something else") from error


def wrapped_keys(data_key: bytes, artifact: Digest, context: KeyContext, readers: Sequence[bytes]) -> WrappedKeys:
    """Wrap a data key for each reader's public key."""
    info = context.info(artifact)
    return WrappedKeys(
        context,
        tuple(
            WrappedKey(key_id(each), _SUITE.encrypt(data_key, X25519PublicKey.from_public_bytes(each), info=info))
            for each in readers
        ),
    )


def encrypt(envelope: Envelope, data_key: bytes) -> bytes:
    """Return an envelope encrypted under a data key that encrypts nothing else."""
    header = EncryptedHeader(envelope.fraction_bits, envelope.width, len(envelope.update))
    return b"".join(encrypted(header, [envelope.salt, envelope.update], data_key))


def encrypted(header: EncryptedHeader, body: Iterable[BytesLike], data_key: bytes) -> Iterator[BytesLike]:
    """Yield header and segments of a body (salt first) that comes in any parts, in memory of a few segments.

    Segments come several in one read-only part: a store that cuts them otherwise copies what lies on a seam only.

    Raises:
        ValueError: if the body is not as long as the header says.
    """
    yield (associated := header.to_bytes())
    cipher, number, filled = AESGCM(data_key), -1, 0
    batch = memoryview(bytearray(_batch_bytes(header, 0)))
    for number, segment in enumerate(cut(body)):
        if number >= header.segments or len(segment) + TAG_BYTES != _size(header, number):
            raise ValueError(f"segment {number} has {len(segment)} bytes, which is not what the header says")
        if filled == len(batch):
            yield batch.toreadonly()
            batch, filled = memoryview(bytearray(_batch_bytes(header, number))), 0
        end = filled + len(segment) + TAG_BYTES
        cipher.encrypt_into(header.nonce(number), segment, associated, batch[filled:end])
        filled = end
    if number != header.segments - 1:
        raise ValueError(f"expected {header.segments} segments, got {number + 1}")
    yield batch.toreadonly()


def decrypt(data: bytes, data_key: bytes) -> Envelope:
    """Return the envelope in encrypted bytes.

    Raises:
        FormatError: if they are no encrypted envelope, were altered, or have another key.
    """
    header = EncryptedHeader.of(data)
    if len(data) != header.total_bytes:
        raise _other_length()
    cipher, associated, whole = AESGCM(data_key), header.to_bytes(), memoryview(data)
    starts = range(HEADER_SIZE, len(data), SEGMENT_BYTES + TAG_BYTES)
    first, *rest = (
        _opened(cipher, header.nonce(number), whole[start : start + SEGMENT_BYTES + TAG_BYTES], associated)
        for number, start in enumerate(starts)
    )
    content = b"".join([memoryview(first)[DIGEST_SIZE:], *rest])
    return Envelope(first[:DIGEST_SIZE], header.fraction_bits, header.width, content)


def decrypted(parts: Iterable[bytes], data_key: bytes) -> Iterator[bytes]:
    """Yield the body (salt first) of an encrypted envelope that comes in any parts, each segment authenticated.

    Raises:
        FormatError: as `decrypt`, at the latest after the last segment.
    """
    source, head = iter(parts), b""
    while len(head) < HEADER_SIZE and (part := next(source, None)) is not None:
        head += part
    if len(head) < HEADER_SIZE:
        raise _other_length()
    header = EncryptedHeader.of(head[:HEADER_SIZE])
    cipher, associated, number = AESGCM(data_key), header.to_bytes(), -1
    body: Iterable[BytesLike] = chain([head[HEADER_SIZE:]], source)
    for number, segment in enumerate(cut(body, SEGMENT_BYTES + TAG_BYTES)):
        if number >= header.segments or len(segment) != _size(header, number):
            raise _other_length()
        yield _opened(cipher, header.nonce(number), segment, associated)
    if number != header.segments - 1:
        raise _other_length()


def _batch_bytes(header: EncryptedHeader, number: int) -> int:
    """Bytes of the segments, from this one on, that are handed out together."""
    return sum(_size(header, each) for each in range(number, min(number + _BATCH, header.segments)))


def _size(header: EncryptedHeader, number: int) -> int:
    """Bytes of an encrypted segment with its tag."""
    return min(SEGMENT_BYTES, header.body_bytes - number * SEGMENT_BYTES) + TAG_BYTES


def _opened(cipher: AESGCM, nonce: bytes, segment: bytes | memoryview, associated: bytes) -> bytes:
    try:
        return cipher.decrypt(nonce, segment, associated)
    except InvalidTag as error:
        raise FormatError("encrypted envelope", expected="segments under this key", got="others") from error


def _other_length() -> FormatError:
    return FormatError("encrypted envelope", expected="as many bytes as its header says", got="others")
