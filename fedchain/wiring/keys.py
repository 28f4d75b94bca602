"""The keys of a home, as `fedchain keys` shows and keeps them."""

from __future__ import annotations

from pathlib import Path

from fedchain.adapters.home import Home, create_home, locked, open_home, plain_name
from fedchain.adapters.key_backup import restore_backup, write_backup
from fedchain.adapters.keys import (
    READER,
    encrypt_plain,
    is_in_token,
    keep_token_key,
    key_path,
    make_secret,
    public_of,
)
from fedchain.adapters.system import SystemEntropy
from fedchain.adapters.token import make_token_key
from fedchain.adapters.unlock import change_passphrase, first_line, is_simulated
from fedchain.core.errors import InputError
from fedchain.workflow.summary import KeyRow, KeyRows, TokenPlace


def overview(home: Path) -> KeyRows:
    """Return the keys of a home; none is opened.

    Raises:
        InputError: if there is no home, or a key file is damaged or open to others.
    """
    opened = open_home(home)
    return KeyRows(tuple(_row(opened, path) for path in _paths(opened)), is_simulated(opened.keys))


def make(home: Path, role: str, name: str) -> KeyRow:
    """Make a key; one that is there stays.

    Raises:
        InputError: if the names cannot be names of files, or the key cannot be made.
    """
    opened = create_home(home)
    with locked(opened):
        make_secret(opened.keys, role, name, SystemEntropy())
        return _row(opened, key_path(opened.keys, role, name))


def make_in_token(home: Path, role: str, name: str, place: TokenPlace) -> KeyRow:
    """Make a device's key in a token, or find it there, and note where it is.

    Raises:
        InputError: if the token cannot be used, or there is another key of this name.
    """
    if role != "device":
        raise InputError("ROLE", expected="device: other roles' keys cannot lie in a token", got=role[:80])
    opened = create_home(home)
    with locked(opened):
        key = make_token_key(place.module, place.token, plain_name(name))
        keep_token_key(opened.keys, role, name, key)
        return _row(opened, key_path(opened.keys, role, name))


def rotate(home: Path, passphrase_file: Path) -> int:
    """Encrypt what older homes have in plain, then put another passphrase before all keys; return how many there are.

    Raises:
        InputError: if the present passphrase is not to be had, or a file cannot be used.
    """
    opened, entropy = open_home(home), SystemEntropy()
    with locked(opened):
        paths = _paths(opened)
        for path in paths:
            encrypt_plain(opened.keys, path, entropy)
        change_passphrase(opened.keys, first_line(passphrase_file), entropy)
        return len(paths)


def backup(home: Path, path: Path, passphrase_file: Path) -> int:
    """Write an encrypted backup of all keys; return how many files are in it.

    Raises:
        InputError: if a file cannot be read or written.
    """
    opened = open_home(home)
    with locked(opened):
        return write_backup(opened.keys, path, first_line(passphrase_file), SystemEntropy())


def restore(home: Path, path: Path, passphrase_file: Path) -> int:
    """Write back what is missing of a backup; return how many files were.

    Raises:
        InputError: if it cannot be opened, or a file is there with another content.
    """
    if not path.exists():
        raise InputError("FILE", expected="a backup", got=path)
    opened = create_home(home)
    with locked(opened):
        return restore_backup(opened.keys, path, first_line(passphrase_file))


def _paths(home: Home) -> list[Path]:
    return sorted(home.keys.rglob("*.key")) if home.keys.is_dir() else []


def _row(home: Home, path: Path) -> KeyRow:
    public, role = public_of(path), str(path.parent.relative_to(home.keys))
    kept = "IN PLAIN" if public is None else "encrypted"
    does = "reads" if role.endswith(READER) else "signs"
    return KeyRow(role, path.stem, does, public, "in a token" if is_in_token(path) else kept)
