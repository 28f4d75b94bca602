"""Locks between processes: flock on a file beside what it protects, which the kernel frees when its holder dies.

Two ways to hold one: alone, or together with others who hold it the same way. Who must not wait is refused at once and
told which process is in the way; `in_turn` waits, for steps that take a moment.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedchain.adapters.files import PRIVATE_FILE, explained
from fedchain.core.errors import InputError

PATIENCE_S: Final = 600.0
_POLL_S: Final = 0.01
_NOBODY: Final = "(unknown)"


@contextmanager
def held(path: Path, what: str, remedy: str, *, alone: bool = True) -> Iterator[None]:
    """Hold a lock for the length of a block, or refuse at once; `what` is in use then ("home is in use by ...").

    Raises:
        InputError: if another holds it in a way that leaves no room, or this process may not write here.
    """
    descriptor = _opened(path)
    try:
        if not _taken(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            raise InputError(f"{what} is in use by process {_holder(descriptor)}", got=path.parent, remedy=remedy)
        if alone or _holder(descriptor) == _NOBODY:  # of those who hold it together the first is named while it lives
            with explained(path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(path: Path, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Be the only one in such a block, of all processes and threads, waiting for one's turn.

    Raises:
        InputError: if another does not come out of it for so long, or this process may not write here.
    """
    descriptor = _opened(path)
    try:
        end = time.monotonic() + patience_s
        while not _taken(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > end:
                raise InputError(
                    f"{path} stays locked", expected=f"its lock within {patience_s:g} s", got="another process's",
                    remedy="end the process that holds it, then repeat the command",
                )  # fmt: skip
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)


def _opened(path: Path) -> int:
    with explained(path):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)


def _taken(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    """Return the process that the file names, if it lives."""
    text = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
    if not text.isdecimal():
        return _NOBODY
    try:
        os.kill(int(text), 0)
    except PermissionError:
        return text
    except (ProcessLookupError, OverflowError):
        return _NOBODY
    return text
