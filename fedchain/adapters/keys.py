"""Secret keys in files: `keys/<role>/<name>.key`, encrypted, readable by their owner only.

Each key is drawn once from the operating system and never leaves its file but to sign or to open. The file says what
it is the key of in plain (an address, or a reader's id), and holds the secret under the folder's master key
(`fedchain.adapters.unlock`). Files of 64 hexadecimal digits, as older homes have them, are still read. In a simulation
all keys lie on one machine; at a hospital the same port has a TPM or an HSM behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedchain.adapters.cipher import Opener
from fedchain.adapters.files import create_file, explained, make_folder, replace_file, sync_folder
from fedchain.adapters.home import plain_name
from fedchain.adapters.token import TOKEN_FORMAT, TokenKey, TokenSigner
from fedchain.adapters.unlock import UNLOCK, close_box, master_key, open_box, read_private
from fedchain.core import document, signatures
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.clock import Entropy
from fedchain.ports.signer import Signer

READER: Final = "-reader"
"""What the roles of reading keys (X25519) end with; all others sign (secp256k1)."""
_FORMAT: Final = "fedchain/key/1"
_HEX_KEY: Final = re.compile(rb"[0-9a-f]{64}\n")


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


@dataclass(frozen=True, slots=True)
class EncryptedKey:
    """A key file: `public` is a signing key's address or a reading key's id, `box` the secret under the master key."""

    format: str
    public: bytes
    box: bytes


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
        create_file(path, _encrypted(keys, role, entropy.secret(DIGEST_SIZE), entropy))
    return read_secret(path)


def encrypt_plain(keys: Path, path: Path, entropy: Entropy) -> bool:
    """Encrypt a key file of an older home in its place; False where it was encrypted already.

    Raises:
        InputError: as `read_signer`.
    """
    if not _HEX_KEY.fullmatch(read_private(path)):
        return False
    role = path.parent.name.removeprefix("next-")
    replace_file(path, _encrypted(keys, role, read_secret(path), entropy))
    return True


def public_of(path: Path) -> bytes | None:
    """Return what a key file says of itself in plain, None if it is not encrypted.

    Raises:
        InputError: if it cannot be read, others may read it, or it holds no key.
    """
    text = read_private(path)
    if _HEX_KEY.fullmatch(text):
        return None
    return (_token_key(text) or _parsed(path, text)).public


def is_in_token(path: Path) -> bool:
    """Tell whether a key's file only says in which token the key lies."""
    return _token_key(read_private(path)) is not None


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


def read_device(path: Path) -> Signer:
    """Read a device's signing key, which may lie in a token: then the file only says where.

    Raises:
        InputError: as `read_signer`; the token itself is looked for when it signs.
    """
    key = _token_key(read_private(path))
    return read_signer(path) if key is None else TokenSigner(key)


def make_device(keys: Path, name: str, entropy: Entropy) -> Signer:
    """Read a device's signing key, drawing one into a file if there is none.

    Raises:
        InputError: as `make_signer`.
    """
    path = key_path(keys, "device", name)
    return read_device(path) if path.exists() else make_signer(keys, "device", name, entropy)


def keep_token_key(keys: Path, role: str, name: str, key: TokenKey) -> None:
    """Write the file that says in which token a key lies.

    Raises:
        InputError: if there is another key of this name.
    """
    path, data = key_path(keys, role, name), document.to_bytes(key) + b"\n"
    make_folder(path.parent)
    if not create_file(path, data) and read_private(path) != data:
        raise InputError(f"{path} is another key", remedy="move it away first")


def _token_key(text: bytes) -> TokenKey | None:
    try:
        key = document.from_bytes(TokenKey, text.removesuffix(b"\n"))
    except FormatError:
        return None
    return key if key.format == TOKEN_FORMAT else None


def read_secret(path: Path) -> bytes:
    """Read the 32 secret bytes in a key's file.

    Raises:
        InputError: as `read_signer`.
    """
    text = read_private(path)
    if _HEX_KEY.fullmatch(text):
        return bytes.fromhex(text.decode().strip())
    key = _parsed(path, text)
    keys = next((each for each in path.parents if (each / UNLOCK).exists()), path.parent)
    secret = open_box(master_key(keys), key.box, _about(key.public))
    if secret is None or len(secret) != DIGEST_SIZE:
        raise FormatError(
            f"{path} does not open", expected=f"a key under {keys / UNLOCK}", got="another", remedy="restore the file"
        )
    return secret


def _encrypted(keys: Path, role: str, secret: bytes, entropy: Entropy) -> bytes:
    public = Opener.of(secret).recipient if role.endswith(READER) else signatures.address_of(secret)
    box = close_box(master_key(keys, entropy), secret, _about(public), entropy)
    return document.to_bytes(EncryptedKey(_FORMAT, public, box)) + b"\n"


def _about(public: bytes) -> bytes:
    return _FORMAT.encode() + b"\0" + public


def _parsed(path: Path, text: bytes) -> EncryptedKey:
    try:
        key = document.from_bytes(EncryptedKey, text.removesuffix(b"\n"))
    except FormatError as error:
        raise _no_key(path) from error
    if key.format != _FORMAT:
        raise _no_key(path)
    return key


def _no_key(path: Path) -> FormatError:
    return FormatError(
        f"{path} holds no key", expected="an encrypted key, or 64 hexadecimal digits", remedy="restore the file"
    )
