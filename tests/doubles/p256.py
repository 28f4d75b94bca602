"""A P-256 key in memory, as a TPM or an HSM would hold one."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedchain.core.signatures import p256_address, p256_signature


class P256Signer:
    def __init__(self, name: bytes) -> None:
        secret = int.from_bytes(hashlib.sha256(b"a test key: " + name).digest()) >> 1
        self._key = ec.derive_private_key(secret, ec.SECP256R1())
        self.public = self._key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        self.address = p256_address(self.public)

    def sign(self, digest: bytes) -> bytes:
        signature = self._key.sign(digest, ec.ECDSA(Prehashed(SHA256()), deterministic_signing=True))
        return p256_signature(signature, self.public)
