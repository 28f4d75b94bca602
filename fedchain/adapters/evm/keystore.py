"""Keys in encrypted files: Web3 Secret Storage version 3, as geth and other clients write it, with scrypt.

https://ethereum.org/en/developers/docs/data-structures-and-encoding/web3-secret-storage/
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from eth_account import Account

from fedchain.adapters.files import create_file, explained, make_folder
from fedchain.adapters.keys import FileSigner
from fedchain.core import json_text, signatures
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.clock import Entropy

SCRYPT_N: Final = 2**18
"""geth's standard: about a second and 256 MiB for each guess."""
_ADDRESS: Final = re.compile("[0-9a-fA-F]{40}")
_MOST_BYTES: Final = 10_000
_MOST_MEMORY: Final = 2**30
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def make_keystore(path: Path, password: str, entropy: Entropy, *, scrypt_n: int = SCRYPT_N) -> FileSigner:
    """Draw a key and write it encrypted; return its signer.

    Raises:
        InputError: if the file is there already or cannot be written, or the password is empty.
    """
    if not password:
        raise InputError("password of a keystore", expected="at least one character", got="none")
    secret = entropy.secret(DIGEST_SIZE)
    keystore = Account.encrypt(secret, password, kdf="scrypt", iterations=scrypt_n)
    make_folder(path.parent)
    if not create_file(path, json.dumps(keystore).encode() + b"\n"):
        raise InputError("keystore is there already", got=path, remedy="choose another name")
    return FileSigner(signatures.address_of(secret), secret)


def open_keystore(path: Path, password: str) -> FileSigner:
    """Return the signer of an encrypted key.

    Raises:
        InputError: if the file cannot be read, is no keystore, or has another password.
    """
    keystore = _read(path)
    try:
        secret = bytes(Account.decrypt(keystore, password))
    except ValueError as error:
        if "MAC" in str(error):
            raise InputError(f"wrong password for {path}", remedy="give the one that it was made with") from error
        raise _no_keystore(path, error) from error
    except (AttributeError, KeyError, TypeError) as error:
        raise _no_keystore(path, error) from error
    address = signatures.address_of(secret)
    named = str(keystore.get("address", "")).removeprefix("0x").lower()
    if named and named != address.hex():
        raise FormatError(f"{path} holds another key than it says", expected=f"0x{named}", got=f"0x{address.hex()}")
    return FileSigner(address, secret)


class KeystoreSigner:
    """The key of a keystore that is opened when it first signs: whoever only needs its address needs no password."""

    def __init__(self, path: Path, password: Callable[[], str]) -> None:
        """Read the address.

        Raises:
            InputError: if the file cannot be read or is no keystore.
        """
        named = str(_read(path).get("address", "")).removeprefix("0x")
        if not _ADDRESS.fullmatch(named):
            raise FormatError(f"{path} does not name its address", expected="40 hexadecimal digits", got=named[:80])
        self.address = bytes.fromhex(named)
        self._path = path
        self._password = password
        self._opened: FileSigner | None = None

    def sign(self, digest: Digest) -> bytes:
        """Return the 65-byte signature over a 32-byte digest.

        Raises:
            InputError: if there is no password, or it is wrong.
        """
        if self._opened is None:
            self._opened = open_keystore(self._path, self._password())
        return self._opened.sign(digest)


def read_password(path: Path, *, is_credential: bool = False) -> str:
    """Return the password in a file's first line; a systemd credential's folder is private whatever its own mode says.

    Raises:
        InputError: if the file cannot be read, is empty, or others may read it.
    """
    try:
        text = (_start(path) if is_credential else _private(path)).decode().split("\n")[0].rstrip("\r")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} holds no password", expected="UTF-8 text", got=error) from error
    if not text:
        raise InputError(f"{path} holds no password", expected="one in the first line", got="an empty line")
    return text


def _read(path: Path) -> dict[str, Any]:
    text = _private(path)
    try:
        keystore = json_text.parse(text)
        if keystore["version"] != 3:
            raise FormatError(f"{path} is no keystore", expected="version 3", got=str(keystore["version"])[:80])
        parameters = {key.lower(): value for key, value in keystore.items()}["crypto"]["kdfparams"]
        # A file from elsewhere must not take all memory: scrypt needs 128 * n * r bytes, and p times that work.
        if any(type(parameters[name]) is not int or parameters[name] < 1 for name in ("n", "r", "p")):
            raise FormatError(f"{path} is no keystore", expected="whole scrypt parameters", got=parameters)
        if 128 * parameters["n"] * parameters["r"] * parameters["p"] > _MOST_MEMORY:
            raise FormatError(f"{path} is no keystore", expected="scrypt within 1 GiB", got=str(parameters)[:200])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_keystore(path, error) from error
    return dict(keystore)


def _start(path: Path) -> bytes:
    with explained(path), path.open("rb") as file:
        return file.read(_MOST_BYTES)


def _private(path: Path) -> bytes:
    text = _start(path)
    with explained(path):
        mode = stat.S_IMODE(path.stat().st_mode)
    if mode & _OTHERS:
        raise InputError(f"{path} is open to others", expected="mode 0600", got=f"mode {mode:04o}", remedy="chmod 600")
    return text


def _no_keystore(path: Path, error: Exception) -> FormatError:
    return FormatError(
        f"{path} is no keystore", expected="Web3 Secret Storage version 3 with scrypt", got=repr(error)[:200]
    )
