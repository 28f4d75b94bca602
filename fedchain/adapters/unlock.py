"""Key files at rest: AES-256-GCM under one master key of the folder, which scrypt wraps under a passphrase.

A service finds the passphrase without a person: a systemd credential, an environment file, a file of its owner's only.
A simulation draws one and puts it beside the keys as `simulated.unlock`, so that one command runs: that protects a key
file that is copied alone, and nothing more. docs/keys.md says what each is worth.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedchain.adapters.files import create_file, explained, make_folder, replace_file
from fedchain.core import document
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.clock import Entropy

UNLOCK: Final = "unlock.json"
SIMULATED_UNLOCK: Final = "simulated.unlock"
_CREDENTIALS_VARIABLE: Final = "CREDENTIALS_DIRECTORY"
_FORMAT: Final = "fedchain/unlock/1"
_PERSONS_N: Final = 2**17
"""For a passphrase that a person chose: about half a second and 128 MiB a guess."""
_DRAWN_N: Final = 2**10
"""For a passphrase of 32 random bytes, which nobody guesses."""
_MOST_MEMORY: Final = 2**30
_R: Final = 8
_NONCE: Final = 12
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Unlock:
    """How a folder's master key is had: scrypt's cost and salt, and the box that its output opens."""

    format: str
    source: Literal["simulated", "passphrase"]
    n: int
    salt: bytes
    box: bytes


def master_key(keys: Path, entropy: Entropy | None = None) -> bytes:
    """Return the master key of a folder of keys; with `entropy` one is made where there is none.

    Raises:
        InputError: if there is no passphrase to be had, it is the wrong one, or a file cannot be used.
    """
    path = keys / UNLOCK
    if entropy is not None and not path.exists():
        _make(keys, entropy)
    with explained(path):
        data = path.read_bytes()
    unlock = _parsed(path, data)
    return _opened(data, _passphrase(keys, unlock.source), str(path))


def change_passphrase(keys: Path, passphrase: str, entropy: Entropy) -> None:
    """Wrap the folder's master key under another passphrase, and forget a simulated one.

    Raises:
        InputError: as `master_key`, or if the new passphrase is empty.
    """
    if not passphrase:
        raise InputError("the new passphrase", expected="at least one character", got="none")
    master = master_key(keys, entropy)
    replace_file(keys / UNLOCK, _wrapped("passphrase", passphrase, master, entropy))
    with explained(keys / SIMULATED_UNLOCK):
        (keys / SIMULATED_UNLOCK).unlink(missing_ok=True)


def is_simulated(keys: Path) -> bool:
    """Tell whether the passphrase lies beside the keys."""
    path = keys / UNLOCK
    with explained(path):
        return path.exists() and _parsed(path, path.read_bytes()).source == "simulated"


def close_box(master: bytes, secret: bytes, about: bytes, entropy: Entropy) -> bytes:
    """Return a nonce and what encrypts a secret under a master key, bound to `about`."""
    nonce = entropy.secret(_NONCE)
    return nonce + AESGCM(master).encrypt(nonce, secret, about)


def open_box(master: bytes, box: bytes, about: bytes) -> bytes | None:
    """Return the secret in a box, or None if this key does not open it."""
    try:
        return AESGCM(master).decrypt(box[:_NONCE], box[_NONCE:], about)
    except (InvalidTag, ValueError):
        return None


def stretched(passphrase: str, salt: bytes, n: int) -> bytes:
    """Return the 32 bytes that scrypt (RFC 7914) makes of a passphrase with r = 8, p = 1."""
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=_R, p=1, maxmem=_MOST_MEMORY + 2**20, dklen=32)


def read_private(path: Path) -> bytes:
    """Return the bytes of a file that only its owner may read.

    Raises:
        InputError: if it cannot be read, or others may read it.
    """
    with explained(path), path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(_MOST_BYTES)
    if mode & _OTHERS:
        raise InputError(
            f"{path} is open to others", expected="mode 0600", got=f"mode {mode:04o}",
            remedy=f"chmod 600 {path}, and replace what is in it if others were on this machine",
        )  # fmt: skip
    return text


def first_line(path: Path) -> str:
    """Return the passphrase in the first line of a file of its owner's only.

    Raises:
        InputError: if there is none.
    """
    line = read_private(path).decode("utf-8", "replace").split("\n")[0].rstrip("\r")
    if not line:
        raise InputError(f"{path} holds no passphrase", expected="one in the first line", got="an empty line")
    return line


def _make(keys: Path, entropy: Entropy) -> None:
    """Make a master key under the passphrase that a service has, or else under a drawn one that lies beside it."""
    make_folder(keys)
    passphrase = service_secret("PASSPHRASE")
    source: Literal["simulated", "passphrase"] = "passphrase"
    if passphrase is None:
        source = "simulated"
        create_file(keys / SIMULATED_UNLOCK, entropy.secret(32).hex().encode() + b"\n")
        passphrase = first_line(keys / SIMULATED_UNLOCK)
    create_file(keys / UNLOCK, _wrapped(source, passphrase, entropy.secret(32), entropy))


def _wrapped(source: Literal["simulated", "passphrase"], passphrase: str, master: bytes, entropy: Entropy) -> bytes:
    n, salt = _DRAWN_N if source == "simulated" else _PERSONS_N, entropy.secret(32)
    box = close_box(stretched(passphrase, salt, n), master, _FORMAT.encode(), entropy)
    return document.to_bytes(Unlock(_FORMAT, source, n, salt, box)) + b"\n"


def _parsed(path: Path, data: bytes) -> Unlock:
    try:
        unlock = document.from_bytes(Unlock, data.removesuffix(b"\n"))
    except FormatError as error:
        raise FormatError(f"{path} is damaged", got=error, remedy="restore it from a backup") from error
    is_power = unlock.n > 1 and unlock.n & (unlock.n - 1) == 0
    if unlock.format != _FORMAT or not is_power or 128 * unlock.n * _R > _MOST_MEMORY:
        raise FormatError(f"{path} is of another version", expected=_FORMAT, got=f"{unlock.format[:40]}, n {unlock.n}")
    return unlock


@functools.lru_cache(maxsize=8)
def _opened(data: bytes, passphrase: str, where: str) -> bytes:
    """Return the master key; a process stretches a passphrase once."""
    unlock = document.from_bytes(Unlock, data.removesuffix(b"\n"))
    master = open_box(stretched(passphrase, unlock.salt, unlock.n), unlock.box, _FORMAT.encode())
    if master is None:
        raise InputError(f"wrong passphrase for {where}", remedy="give the one that it was made with")
    return master


def _passphrase(keys: Path, source: str) -> str:
    if source == "simulated":
        return first_line(keys / SIMULATED_UNLOCK)
    passphrase = service_secret("PASSPHRASE")
    if passphrase is not None:
        return passphrase
    if sys.stdin.isatty() and sys.stderr.isatty():
        return _asked(str(keys))
    raise InputError(
        f"the keys in {keys} are locked",
        expected="the credential fedchain-passphrase, FEDCHAIN_PASSPHRASE_FILE or FEDCHAIN_PASSPHRASE", got="none",
        remedy="give one of them, or call it on a terminal",
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _asked(keys: str) -> str:
    return getpass.getpass(f"Passphrase of the keys in {keys}: ")


def service_secret(kind: Literal["PASSPHRASE", "PIN"]) -> str | None:
    """Return what the environment gives: a systemd credential before a file before a variable.

    Raises:
        InputError: if a file cannot be read, is empty, or others may read it.
    """
    folder, file = os.environ.get(_CREDENTIALS_VARIABLE), os.environ.get(f"FEDCHAIN_{kind}_FILE")
    credential = f"fedchain-{kind.lower()}"
    if folder and (Path(folder) / credential).exists():
        return first_line(Path(folder) / credential)
    if file:
        return first_line(Path(file))
    return os.environ.get(f"FEDCHAIN_{kind}") or None
