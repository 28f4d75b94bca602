"""A key in memory, made from a name, so that every test has the same addresses."""

from __future__ import annotations

import hashlib

from fedchain.core import signatures


class NamedSigner:
    def __init__(self, name: str) -> None:
        self._secret = hashlib.sha256(b"a test key: " + name.encode()).digest()
        self.address = signatures.address_of(self._secret)

    def sign(self, digest: bytes) -> bytes:
        return signatures.sign(self._secret, digest)
