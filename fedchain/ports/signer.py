"""A key that signs 32-byte digests and never shows itself."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A key behind a file, a TPM or an HSM: secp256k1, or for devices P-256."""

    @property
    def address(self) -> bytes:
        """The 20-byte EVM address of the key."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Return the signature over a 32-byte digest in the form of `core.signatures`, s in the lower half."""
        ...
