"""Who can read what a home stores: the readers' keys and rings, and the store as each of them sees it.

Four kinds of readers: each site (its own updates), the aggregator (all it has to add up, and what it writes), the group
of verifiers and the group of reviewers. In a simulation all their keys and rings lie under one home, each in its own
file; in a federation each holder has its own only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from fedchain.adapters.cipher import Opener
from fedchain.adapters.home import Home
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.keys import key_path, make_secret, read_secret
from fedchain.adapters.payloads import DecryptingReader, EncryptingWriter, PlainReader, PlainWriter
from fedchain.adapters.private_store import PrivateStore, Readers, Writing
from fedchain.adapters.system import SystemEntropy
from fedchain.config import EncryptionConfig
from fedchain.ports.payloads import PayloadReader, PayloadWriter
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.stores import open_store

Holder: TypeAlias = Literal["aggregator", "verifiers", "reviewers"]
HOLDERS: Final[tuple[Holder, ...]] = ("aggregator", "verifiers", "reviewers")
SITE_ROLE: Final = "site-reader"
SIMULATED: Final = "simulated"


@dataclass(frozen=True, slots=True)
class Confidential:
    """What a run works with: the store as the aggregator sees it, and both sides of payloads."""

    store: ArtifactStore
    payloads: PayloadReader
    _home: Home
    _readers: Readers | None

    def writer_of(self, site: str) -> PayloadWriter:
        """Return a site's side; its reading key and its ring are made at first use."""
        if self._readers is None:
            return PlainWriter()
        entropy = SystemEntropy()
        own = Opener.of(make_secret(self._home.keys, SITE_ROLE, site, entropy))
        return EncryptingWriter((own.public_key, *self._readers.public_keys), site_ring(self._home, site), entropy)


def open_confidential(home: Home, config: EncryptionConfig) -> Confidential:
    """Return what a run of this configuration works with; the groups' keys are made at first use."""
    inner = open_store(home)
    if config.mode == "off":
        return Confidential(replace(open_artifacts(home, "aggregator"), writing=None), PlainReader(inner), home, None)
    for each in HOLDERS:
        make_secret(home.keys, role_of(each), SIMULATED, SystemEntropy())
    store = open_artifacts(home, "aggregator")
    if store.opener is None or store.writing is None:
        raise AssertionError("the readers' keys were made above")
    readers = store.writing.readers
    return Confidential(store, DecryptingReader(inner, store.opener, store.ring, readers), home, readers)


def open_artifacts(home: Home, holder: Holder = "verifiers") -> PrivateStore:
    """Return the home's store as a reader sees it; what is put is encrypted where the home has all readers' keys.

    Without the holder's key only what is plain can be read.

    Raises:
        InputError: if a key is there and cannot be used.
    """
    openers = {each: opener for each in HOLDERS if (opener := _opener(home, each)) is not None}
    rings = {each: ring_of(home, each) for each in HOLDERS}
    writing = None
    if len(openers) == len(HOLDERS):
        readers = Readers({openers[each].public_key: rings[each] for each in HOLDERS})
        writing = Writing(readers, SystemEntropy())
    return PrivateStore(open_store(home), rings[holder], openers.get(holder), writing)


def ring_of(home: Home, holder: Holder) -> KeyRing:
    """Return a group's key ring."""
    return KeyRing(home.keyrings / holder / "keys.sqlite")


def site_ring(home: Home, site: str) -> KeyRing:
    """Return a site's key ring."""
    return KeyRing(home.site(site) / "keys.sqlite")


def _opener(home: Home, holder: Holder) -> Opener | None:
    path = key_path(home.keys, role_of(holder), SIMULATED)
    return Opener.of(read_secret(path)) if path.exists() else None


def role_of(holder: Holder) -> str:
    """Return the folder of a group's reading key."""
    return f"{holder}-reader"
