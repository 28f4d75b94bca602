"""A store whose artifacts only its readers can read: an ArtifactStore over any other, which sees ciphertext alone.

Every artifact has a data key of its own, kept wrapped in its readers' rings and never in the store. The CID is that of
the ciphertext. Putting the same content again finds its key in the writer's ring and gives the same ciphertext, so
puts are as idempotent as those below. What was stored in plain is read as it is.

Crashes: keys are durable before a put returns. A killed put leaves at most an artifact without a key, or with the keys
of some readers, that nothing names; garbage collection removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from fedchain.adapters import chunk_files, cipher
from fedchain.adapters.cipher import Opener
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.spool import spooled
from fedchain.core.cid import BytesLike, Cid, cut, kept
from fedchain.core.digest import DIGEST_SIZE, tagged
from fedchain.core.encryption import ARTIFACT, EncryptedHeader, WrappedKeys, is_encrypted, key_id
from fedchain.core.envelope import Envelope, plain_header
from fedchain.core.errors import FormatError, LockedArtifactError
from fedchain.ports.clock import Entropy
from fedchain.ports.store import ArtifactStore


@dataclass(frozen=True, slots=True)
class Readers:
    """Whom new data keys are wrapped for, by public key, and their rings as far as they lie here."""

    rings: dict[bytes, KeyRing | None]

    @property
    def public_keys(self) -> Sequence[bytes]:
        """The 32-byte public keys."""
        return list(self.rings)

    def hand_out(self, keys: Mapping[Cid, WrappedKeys], but: KeyRing) -> None:
        """Keep in each ring that is here, but one, what is wrapped for its reader."""
        for public_key, ring in self.rings.items():
            if ring is not None and ring is not but:
                reader = key_id(public_key)
                ring.keep_all({cid: each.only(reader) for cid, each in keys.items()})

    def have_erased(self, cid: Cid, own: KeyRing) -> bool:
        """Tell whether the keys of an artifact were erased in `own` or a ring that is here: it takes none again."""
        rings = {own, *(ring for ring in self.rings.values() if ring is not None)}
        return any(ring.is_erased(cid) for ring in rings)


@dataclass(frozen=True, slots=True)
class Writing:
    """What putting needs: the entropy of data keys and whom they are wrapped for, the writer itself among them."""

    readers: Readers
    entropy: Entropy


@dataclass(frozen=True, slots=True)
class PrivateStore:
    """An ArtifactStore for one reader; without `opener` it reads what is plain, without `writing` it writes plain."""

    inner: ArtifactStore
    ring: KeyRing
    opener: Opener | None
    writing: Writing | None = None

    def put(self, data: BytesLike) -> Cid:
        """See ArtifactStore."""
        if self.writing is None or self.opener is None:
            return self.inner.put(data)
        return self._put(chunk_files.name_of(data), memoryview(data).nbytes, [data])

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """See ArtifactStore; the header says how long the content is, so what is long waits encrypted on the disk."""
        if self.writing is None or self.opener is None:
            return self.inner.put_stream(parts)
        with spooled(parts, self.ring.folder) as spool:
            return self._put(spool.cid, spool.size, spool.chunks())

    def _put(self, plain: Cid, size: int, parts: Iterable[BytesLike]) -> Cid:
        """Keep a content that would have the CID `plain`."""
        if self.writing is None or self.opener is None:
            raise AssertionError("who writes has a key and readers")
        index = tagged("kept-content", plain.binary)
        known = self.ring.find_content(index)
        if known is not None:
            cid, keys = known
            return self.inner.put_stream(_encrypted(size, parts, self.opener.data_key(keys, cid.digest)))
        data_key = self.writing.entropy.secret(DIGEST_SIZE)
        cid = self.inner.put_stream(_encrypted(size, parts, data_key))
        keys = cipher.wrapped_keys(data_key, cid.digest, ARTIFACT, self.writing.readers.public_keys)
        self.writing.readers.hand_out({cid: keys}, self.ring)
        self.ring.keep(cid, keys, index)
        return cid

    def get(self, cid: Cid) -> bytes:
        """See ArtifactStore. An update's payload comes as its plain envelope.

        Raises:
            LockedArtifactError: if this reader has no key for it.
        """
        data = self.inner.get(cid)
        if not is_encrypted(data):
            return data
        envelope = _opened(data, self._data_key(cid), cid)
        return envelope.to_bytes() if envelope.width else envelope.update

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """See ArtifactStore; without a key for it, what is stored is verified, and then refused as in `get`."""
        stored = self.inner.chunks(cid)
        first = next(stored)
        if not is_encrypted(first):
            yield first
            yield from stored
            return
        try:
            data_key = self._data_key(cid)
        except LockedArtifactError:
            for _ in stored:
                pass
            raise
        yield from (kept(chunk) for chunk in cut(_content(_joined(first, stored), data_key, cid)))

    def has(self, cid: Cid) -> bool:
        """See ArtifactStore."""
        return self.inner.has(cid)

    def remove(self, cid: Cid) -> None:
        """See ArtifactStore; its keys stay in their rings, as other copies may have to be read."""
        self.inner.remove(cid)

    def cids(self) -> Iterator[Cid]:
        """See ArtifactStore."""
        return self.inner.cids()

    def _data_key(self, cid: Cid) -> bytes:
        keys = None if self.opener is None else self.ring.find(cid)
        if keys is None or self.opener is None:
            gone = self.ring.is_erased(cid)
            raise LockedArtifactError(f"artifact {cid} is encrypted", got="its keys were erased" if gone else "no key")
        return self.opener.data_key(keys, cid.digest)


def _encrypted(size: int, parts: Iterable[BytesLike], data_key: bytes) -> Iterator[BytesLike]:
    """Yield what is no update, encrypted; its salt follows from the key, so that the same key gives the same bytes."""
    return cipher.encrypted(EncryptedHeader(0, 0, size), chain([tagged("artifact-salt", data_key)], parts), data_key)


def _opened(data: bytes, data_key: bytes, cid: Cid) -> Envelope:
    try:
        return cipher.decrypt(data, data_key)
    except FormatError as error:
        raise LockedArtifactError(f"artifact {cid} is encrypted", got="a key that does not open it") from error


def _joined(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _content(parts: Iterator[bytes], data_key: bytes, cid: Cid) -> Iterator[bytes]:
    """Yield what `get` gives, in parts."""
    first = next(parts)
    header = EncryptedHeader.of(first)
    skip = DIGEST_SIZE
    try:
        for segment in cipher.decrypted(_joined(first, parts), data_key):
            if header.width and skip:
                yield plain_header(header.fraction_bits, header.width, header.content_bytes)
                skip = 0
            yield segment[skip:]
            skip = 0
    except FormatError as error:
        raise LockedArtifactError(f"artifact {cid} is encrypted", got="a key that does not open it") from error
