"""Secret keys in files: `keys/<role>/<name>.key`, 64 hexadecimal digits, readable by their owner only.

Each key is drawn once from the operating system and never leaves its file but to sign. In a simulation all of them lie
on one machine; at a hospital the same port has a TPM or an HSM behind it.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedchain.adapters.files import create_file, explained, make_folder, replace_file, sync_folder
from fedchain.adapters.home import plain_name
from fedchain.core import signatures
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.clock import Entropy

_HEX_KEY: Final = re.compile(rb"[0-9a-f]{64}\n")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A secp256k1 key read from a file; its secret is in no representation of it."""

    address: bytes
    _secret: bytes = field(repr=False)

    def sign(self, digest: Digest) -> bytes:
        """Return the 65-byte signature over a 32-byte digest."""
        if len(digest) != DIGEST_SIZE:
            raise ValueError(f"a signature covers {DIGEST_SIZE} bytes, got {len(digest)}")
        return signatures.sign(self._secret, digest)


def key_path(keys: Path, role: str, name: str) -> Path:
    """Return the file of a key."""
    return keys / plain_name(role) / f"{plain_name(name)}.key"


def make_signer(keys: Path, role: str, name: str, entropy: Entropy) -> FileSigner:
    """Read the key of `role` and `name`, drawing it first if there is none. Of two makers at once, one wins for both.

    Raises:
        InputError: if the file cannot be written or read, others may read it, or it holds no key.
    """
    make_secret(keys, role, name, entropy)
    return read_signer(key_path(keys, role, name))


def make_secret(keys: Path, role: str, name: str, entropy: Entropy) -> bytes:
    """Read the 32 secret bytes of `role` and `name`, drawing them first if there are none; see `make_signer`.

    Raises:
        InputError: as `make_signer`.
    """
    path = key_path(keys, role, name)
    if not path.exists():
        make_folder(path.parent)
        create_file(path, entropy.secret(DIGEST_SIZE).hex().encode() + b"\n")
    return read_secret(path)


def successor_path(keys: Path, role: str, name: str) -> Path:
    """Return the file of the key that is to follow a key."""
    return key_path(keys, f"next-{role}", name)


def make_successor(keys: Path, role: str, name: str, entropy: Entropy) -> FileSigner:
    """Read the key that is to follow a key, drawing it first if there is none.

    Raises:
        InputError: as `make_signer`.
    """
    return make_signer(keys, f"next-{role}", name, entropy)


def succeed(keys: Path, role: str, name: str) -> None:
    """Put a key's successor in its place; the old key is kept in `keys/retired/<name>/<role>-<address>.key`.

    At every moment each of the two secrets lies in a file; after a crash, calling it again finishes.

    Raises:
        InputError: if there is no successor, or a file cannot be written or read.
    """
    path, successor = key_path(keys, role, name), successor_path(keys, role, name)
    old, new = read_signer(path), read_signer(successor)
    if old.address != new.address:
        retired = key_path(keys / "retired", name, f"{role}-{old.address.hex()}")
        make_folder(retired.parent)
        create_file(retired, path.read_bytes())
        replace_file(path, successor.read_bytes())
    with explained(successor):
        successor.unlink()
        sync_folder(successor.parent)


def read_signer(path: Path) -> FileSigner:
    """Read a signing key from its file.

    Raises:
        InputError: if there is none, it cannot be read, others may read it, or it holds no key.
    """
    secret = read_secret(path)
    try:
        return FileSigner(signatures.address_of(secret), secret)
    except ValueError as error:  # zero, or beyond the order of the curve
        raise _no_key(path) from error


def read_secret(path: Path) -> bytes:
    """Read the 32 secret bytes in a key's file.

    Raises:
        InputError: as `read_signer`.
    """
    with explained(path), path.open("rb") as file:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = file.read(80)
    if mode & _OTHERS:
        raise InputError(
            f"key {path} is open to others",
            expected="mode 0600",
            got=f"mode {mode:04o}",
            remedy=f"chmod 600 {path}, and replace the key if others were on this machine",
        )
    if not _HEX_KEY.fullmatch(text):
        raise _no_key(path)
    return bytes.fromhex(text.decode().strip())


def _no_key(path: Path) -> FormatError:
    return FormatError(f"{path} holds no key", expected="64 hexadecimal digits", remedy="restore the file")
