"""A key that another program holds: an HSM's, a TPM's, or a person's behind a prompt.

The command gets one line, the 32-byte digest in hexadecimal, and answers with one line, the 65-byte signature
(r, s, v). It signs what it is given: only the digest is shown to it, so what is signed is this program's word.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.core import signatures
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import FormatError, InputError, UnreachableError


@dataclass(frozen=True, slots=True)
class CommandSigner:
    """Asks a fixed command, given as its words, for each signature; every answer is checked against the address."""

    address: bytes
    command: Sequence[str]
    timeout_s: float = 60.0

    def sign(self, digest: Digest) -> bytes:
        """Return the 65-byte signature over a 32-byte digest.

        Raises:
            UnreachableError: if the command does not answer in time, or fails.
            InputError: if there is no such command, or it signs with another key.
            FormatError: if its answer is no signature.
        """
        if len(digest) != DIGEST_SIZE:
            raise ValueError(f"a signature covers {DIGEST_SIZE} bytes, got {len(digest)}")
        signature = self._normal(self._ask(digest.hex() + "\n"))
        signer = signatures.recover(digest, signature)
        if signer != self.address:
            raise InputError(
                f"external signer {self.command[0]} signs with another key",
                expected=signatures.checksum_address(self.address),
                got=signatures.checksum_address(signer),
            )
        return signature

    def _ask(self, line: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603  # the command is the operator's own setting, run without a shell
                self.command, input=line, capture_output=True, text=True, timeout=self.timeout_s, check=False
            )
        except subprocess.TimeoutExpired as error:
            got = f"none within {self.timeout_s:g} s"
            raise UnreachableError(f"external signer {self.command[0]}", expected="an answer", got=got) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"external signer {self.command[0]}", got=error, remedy="check the command") from error
        if done.returncode != 0:
            got = f"exit {done.returncode}: {' '.join(done.stderr.split())[:200]}"
            raise UnreachableError(f"external signer {self.command[0]} failed", got=got)
        return done.stdout

    def _normal(self, answer: str) -> bytes:
        try:
            signature = bytes.fromhex(answer.strip().removeprefix("0x"))
        except ValueError as error:
            raise FormatError("answer of the external signer", expected="65 bytes in hexadecimal", got=error) from error
        # Devices that speak of the parity give v as 0 or 1.
        return signature[:-1] + bytes([signature[-1] + 27]) if signature and signature[-1] < 2 else signature
