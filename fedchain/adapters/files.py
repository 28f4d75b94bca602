"""Durable files: written whole or not at all, still there after a power cut.

The order is the one that survives a crash on every common file system (Pillai et al., OSDI 2014): write a temporary
file beside the target, fsync it, rename it over the target, fsync the folder.
"""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from fedchain.core.errors import InputError

PRIVATE_FILE: Final = 0o600
PRIVATE_FOLDER: Final = 0o700
TEMPORARY: Final = ".partial"
"""Suffix of a temporary file: what bears it was never acknowledged and may be deleted."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` to `path` (mode 0600), over what stood there.

    Raises:
        InputError: if it cannot be written; what stood there is untouched then.
    """
    with explained(path):
        temporary = _written(path, data)
        try:
            temporary.replace(path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def create_file(path: Path, data: bytes) -> bool:
    """Write `data` to a new file (mode 0600); False if the file is already there, by whoever was first.

    Raises:
        InputError: if it cannot be written.
    """
    with explained(path):
        temporary = _written(path, data)
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_folder(path.parent)
        return True


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write (mode 0600) that gets the name `path` at the end of the block, and none if that fails.

    Raises:
        InputError: if there is such a file already, or it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    with explained(path):
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            try:
                path.hardlink_to(temporary)
            except FileExistsError as error:
                raise InputError("a file that is there already", expected="a new file", got=path) from error
            sync_folder(path.parent)
        finally:
            temporary.unlink()


def make_folder(path: Path) -> None:
    """Make a folder (mode 0700) and its parents, durably; one that is there already stays as it is.

    Raises:
        InputError: if it cannot be made, or something else has its name.
    """
    with explained(path):
        if path.is_dir():
            return
        missing = [each for each in (path, *path.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
            sync_folder(each.parent)
        if not path.is_dir():
            raise InputError("a file has the name of a folder", expected="a folder", got=path)


def sync_folder(path: Path) -> None:
    """Make renames and new names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data` at the descriptor's position; one write may take less than it is given."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system refuses into one line that says what to do.

    Raises:
        InputError: in place of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise _explanation(path, error) from error


def _explanation(path: Path, error: OSError) -> InputError:
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno in _FULL:
        return InputError(f"no room to write {path}", got=reason, remedy="free some space, then repeat the command")
    if error.errno in _FORBIDDEN:
        return InputError(
            f"no permission for {path}", got=reason, remedy="change its owner or mode, or choose another with --home"
        )
    return InputError(f"cannot use {path}", got=reason, remedy="check the path, or choose another with --home")


def _written(path: Path, data: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    finally:
        os.close(descriptor)
    return temporary
