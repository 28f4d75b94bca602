"""Payloads of updates: encrypted for their readers, or, where the configuration says so, in plain."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from fedchain.adapters import cipher
from fedchain.adapters.cipher import Opener
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.private_store import Readers
from fedchain.core import document
from fedchain.core.cid import Cid, cid_of
from fedchain.core.digest import DIGEST_SIZE
from fedchain.core.encryption import MOST_KEYS_BYTES, KeyContext, WrappedKeys
from fedchain.core.envelope import Envelope
from fedchain.core.errors import FormatError, LockedArtifactError
from fedchain.ports.clock import Entropy
from fedchain.ports.payloads import ReadyPayload
from fedchain.ports.store import ArtifactStore

_PUT_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class EncryptingWriter:
    """A PayloadWriter; `readers` are public keys, the site's own among them, and `ring` is the site's."""

    readers: tuple[bytes, ...]
    ring: KeyRing
    entropy: Entropy

    def write(self, envelope: Envelope, context: KeyContext) -> ReadyPayload:
        """See PayloadWriter."""
        data_key = self.entropy.secret(DIGEST_SIZE)
        payload = cipher.encrypt(envelope, data_key)
        cid = cid_of(payload)
        keys = cipher.wrapped_keys(data_key, cid.digest, context, self.readers)
        self.ring.keep(cid, keys)
        return ReadyPayload(payload, cid, document.to_bytes(keys))

    def keys_of(self, payload: bytes) -> bytes:
        """See PayloadWriter."""
        keys = self.ring.find(cid_of(payload))
        if keys is None:
            raise LockedArtifactError("an update that was released has no keys any more", got="erased, or lost")
        return document.to_bytes(keys)


@dataclass(frozen=True, slots=True)
class DecryptingReader:
    """A PayloadReader; `store` keeps what it is given as it is, `ring` is the aggregator's."""

    store: ArtifactStore
    opener: Opener
    ring: KeyRing
    readers: Readers

    def open(self, ready: ReadyPayload, context: KeyContext) -> Envelope:
        """See PayloadReader."""
        wrapped = _parsed(ready.keys)
        if wrapped.context != context:
            raise FormatError("keys of a payload", expected="keys for this update", got="for another")
        if self.readers.have_erased(ready.cid, self.ring):
            raise FormatError("keys of a payload", expected="keys that were never erased", got="erased ones")
        try:
            data_key = self.opener.data_key(wrapped, ready.cid.digest)
        except LockedArtifactError as error:
            raise FormatError("keys of a payload", got=error) from error
        return cipher.decrypt(ready.payload, data_key)

    def keep(self, payloads: Sequence[ReadyPayload]) -> None:
        """See PayloadReader."""
        keys: dict[Cid, WrappedKeys] = {}
        for each in payloads:
            keys.setdefault(each.cid, _parsed(each.keys))  # as in a ring: the first ones stand
        self.readers.hand_out(keys, self.ring)
        self.ring.keep_all(keys)
        _put_all(self.store, payloads)

    def kept(self, cid: Cid) -> bytes:
        """See PayloadReader."""
        return self.store.get(cid)


@dataclass(frozen=True, slots=True)
class PlainWriter:
    """A PayloadWriter that hides nothing."""

    def write(self, envelope: Envelope, context: KeyContext) -> ReadyPayload:  # noqa: ARG002 - nothing is bound
        """See PayloadWriter."""
        payload = envelope.to_bytes()
        return ReadyPayload(payload, cid_of(payload), b"")

    def keys_of(self, payload: bytes) -> bytes:  # noqa: ARG002 - there are none
        """See PayloadWriter."""
        return b""


@dataclass(frozen=True, slots=True)
class PlainReader:
    """A PayloadReader of payloads that hide nothing."""

    store: ArtifactStore

    def open(self, ready: ReadyPayload, context: KeyContext) -> Envelope:  # noqa: ARG002 - nothing is bound
        """See PayloadReader."""
        return Envelope.from_bytes(ready.payload)

    def keep(self, payloads: Sequence[ReadyPayload]) -> None:
        """See PayloadReader."""
        _put_all(self.store, payloads)

    def kept(self, cid: Cid) -> bytes:
        """See PayloadReader."""
        return self.store.get(cid)


def _put_all(store: ArtifactStore, payloads: Sequence[ReadyPayload]) -> None:
    """Put payloads on threads, which wait for the disk together."""
    with ThreadPoolExecutor(min(_PUT_AT_ONCE, len(payloads))) as pool:
        for _ in pool.map(store.put, [each.payload for each in payloads]):
            pass


@functools.lru_cache(maxsize=64)  # what is opened is kept next
def _parsed(keys: bytes) -> WrappedKeys:
    if len(keys) > MOST_KEYS_BYTES:
        raise FormatError("keys of a payload", expected=f"at most {MOST_KEYS_BYTES} bytes", got=len(keys))
    return document.from_bytes(WrappedKeys, keys)
