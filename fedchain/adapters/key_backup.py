"""A backup of a folder of keys: one file, encrypted under a passphrase of its own. Key rings are not in it.

A copy of a ring would outlive an erasure, so rings are copied by whoever keeps a backup of the whole home, and erased
there too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.files import TEMPORARY, create_file, explained, make_folder
from fedchain.adapters.unlock import close_box, open_box, read_private, stretched
from fedchain.core import document
from fedchain.core.errors import FormatError, InputError
from fedchain.ports.clock import Entropy

_FORMAT: Final = "fedchain/key-backup/1"
_N: Final = 2**17


@dataclass(frozen=True, slots=True)
class KeptFile:
    """A file of the folder, by its path in it."""

    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """What is in the box of a backup."""

    files: tuple[KeptFile, ...]


@dataclass(frozen=True, slots=True)
class Backup:
    """The file itself."""

    format: str
    salt: bytes
    box: bytes


def write_backup(keys: Path, path: Path, passphrase: str, entropy: Entropy) -> int:
    """Write a backup to a new file; return how many files are in it.

    Raises:
        InputError: if there is nothing to keep, the file is there already, or one cannot be read or written.
    """
    files = tuple(KeptFile(str(each.relative_to(keys)), read_private(each)) for each in _files(keys))
    if not files:
        raise InputError("nothing to back up", expected=f"keys in {keys}", got="none")
    salt = entropy.secret(32)
    box = close_box(stretched(passphrase, salt, _N), document.to_bytes(KeptFiles(files)), _FORMAT.encode(), entropy)
    if not create_file(path, document.to_bytes(Backup(_FORMAT, salt, box)) + b"\n"):
        raise InputError("the backup is there already", got=path, remedy="choose another name")
    return len(files)


def restore_backup(keys: Path, path: Path, passphrase: str) -> int:
    """Write back what is missing of a backup; return how many files were. Again changes nothing.

    Raises:
        InputError: if it is no backup, has another passphrase, or a file is there with another content; nothing is
            written then.
    """
    with explained(path):
        data = path.read_bytes()
    files = _opened(path, data, passphrase)
    for each in files:
        target = keys / each.path
        if target.exists() and read_private(target) != each.data:
            raise InputError(f"{target} is another key than the backup has", remedy="move it away first")
    written = 0
    for each in files:
        make_folder((keys / each.path).parent)
        written += create_file(keys / each.path, each.data)
    return written


def _opened(path: Path, data: bytes, passphrase: str) -> tuple[KeptFile, ...]:
    try:
        backup = document.from_bytes(Backup, data.removesuffix(b"\n"))
    except FormatError as error:
        raise FormatError(f"{path} is no backup of keys", got=error) from error
    if backup.format != _FORMAT:
        raise FormatError(f"{path} is of another version", expected=_FORMAT, got=backup.format[:40])
    plain = open_box(stretched(passphrase, backup.salt, _N), backup.box, _FORMAT.encode())
    if plain is None:
        raise InputError(f"wrong passphrase for {path}", remedy="give the one that it was made with")
    files = document.from_bytes(KeptFiles, plain).files
    for each in files:
        if Path(each.path).is_absolute() or ".." in Path(each.path).parts:
            raise FormatError(f"{path} names a file outside the keys", got=each.path[:80])
    return files


def _files(keys: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(keys):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(names) if not name.endswith(TEMPORARY))
