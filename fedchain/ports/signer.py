"""A key that signs 32-byte digests and never shows itself."""

from __future__ import annotations

from typing import Protocol


class Signer(Protocol):
    """A secp256k1 key behind a file, a TPM or an HSM."""

    @property
    def address(self) -> bytes:
        """The 20-byte EVM address of the key."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Return the 65-byte signature (r, s, v) over a 32-byte digest, s in the lower half."""
        ...
