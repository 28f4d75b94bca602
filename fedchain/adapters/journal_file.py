"""The journal of a run in one append-only file.

Layout: the line `fedchain/journal/1`, then one frame an entry:

    4 bytes   length of the payload, big-endian
    8 bytes   check: first 8 bytes of sha256(tag, previous link || length)
    32 bytes  link: sha256(tag, previous link || payload)
    payload   one byte length of the step's name, the name, the body

Links form a chain, so a lost, swapped or altered entry shows in all that follow. The check makes the length trustworthy
before the payload is read: only then does a file that ends too early mean a torn write, and not a damaged length. A
torn last entry was never acknowledged and is dropped; so is a tail of zeros, which a power cut leaves where the file
system had recorded the new size only. Everything else is damage. A file cut exactly between entries looks whole: the
ledger shows what is missing then.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedchain.adapters.files import create_file, explained, make_folder, write_all
from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import FedchainError, FormatError, InputError, IntegrityError
from fedchain.ports.journal import Entry, Step

MAGIC: Final = b"fedchain/journal/1\n"
MAX_PAYLOAD: Final = 1 << 30
_FRAME: Final = struct.Struct(">I8s32s")
_FIRST_LINK: Final = tagged("journal")


class FileJournal:
    """One run's journal, opened for appending by the one process that holds the home's lock."""

    def __init__(self, path: Path) -> None:
        """Open or make the journal at `path` and cut a torn last entry off.

        Raises:
            InputError: if it cannot be read or written.
            IntegrityError: if an acknowledged entry is damaged.
        """
        make_folder(path.parent)
        if not path.exists():
            create_file(path, MAGIC)
        with explained(path):
            data = path.read_bytes()
        self._path = path
        self._lock = threading.Lock()
        self._is_broken = False
        self._size, self._link = len(MAGIC), _FIRST_LINK
        for _, self._size, self._link in _frames(path, data):
            pass
        with explained(path):
            self._descriptor = os.open(path, os.O_WRONLY)
            if self._size < len(data):
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)

    def append(self, *entries: Entry) -> None:
        """Write entries durably, in one fsync, before returning; a crash before that may leave the first ones.

        Raises:
            InputError: if they cannot be written; the file is as before then, and takes no more entries until it is
                opened anew, because after a failed fsync nobody knows what the disk holds.
            IntegrityError: if another process changed the file meanwhile.
        """
        payloads = [_payload(each) for each in entries]
        with self._lock:
            if self._is_broken:
                raise InputError(f"{self._path} failed before", remedy="repeat the command to resume")
            frames, link = b"", self._link
            for payload in payloads:
                check, link = _check(link, len(payload)), _link(link, payload)
                frames += _FRAME.pack(len(payload), check, link) + payload
            self._write(frames)
            self._size, self._link = self._size + len(frames), link

    def entries(self) -> tuple[Entry, ...]:
        """Return all entries, read and checked anew.

        Raises:
            IntegrityError: if the file was damaged since it was opened.
        """
        with self._lock:
            return read_journal(self._path)

    def close(self) -> None:
        """Give the file back; appending is over."""
        with self._lock:
            if not self._is_broken:
                os.close(self._descriptor)
            self._is_broken = True

    def _write(self, frame: bytes) -> None:
        found = os.fstat(self._descriptor).st_size
        if found != self._size:
            raise IntegrityError(f"{self._path} was changed by others", expected=f"{self._size} bytes", got=found)
        try:
            with explained(self._path):
                os.lseek(self._descriptor, self._size, os.SEEK_SET)
                write_all(self._descriptor, frame)
                os.fsync(self._descriptor)
        except FedchainError:
            self._is_broken = True
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            os.close(self._descriptor)
            raise


def read_journal(path: Path) -> tuple[Entry, ...]:
    """Return the acknowledged entries of a journal without changing it.

    Raises:
        InputError: if it cannot be read.
        IntegrityError: if an acknowledged entry is damaged.
    """
    with explained(path):
        data = path.read_bytes()
    return tuple(_entry(path, payload) for payload, _, _ in _frames(path, data))


def _frames(path: Path, data: bytes) -> Iterator[tuple[memoryview, int, Digest]]:
    """Yield payload, end offset and link of each whole frame."""
    if not data.startswith(MAGIC):
        raise IntegrityError(f"{path} is no journal of this version", expected=MAGIC.decode().strip(), got=data[:20])
    view, start, previous = memoryview(data), len(MAGIC), _FIRST_LINK
    while not _is_torn(view[start:]):
        length, check, link = _FRAME.unpack_from(view, start)
        if length > MAX_PAYLOAD or check != _check(previous, length):
            raise _damage(path, start)
        begin, end = start + _FRAME.size, start + _FRAME.size + length
        if end > len(view):
            return
        if link != _link(previous, view[begin:end]):
            raise _damage(path, start)
        yield view[begin:end], end, link
        start, previous = end, link


def _is_torn(tail: memoryview) -> bool:
    return len(tail) < _FRAME.size or not any(tail)


def _damage(path: Path, offset: int) -> IntegrityError:
    return IntegrityError(
        f"{path} is damaged at byte {offset}", remedy="restore it from a copy, or start anew with --fresh"
    )


def _check(previous: Digest, length: int) -> bytes:
    return tagged("journal-length", previous, length.to_bytes(4))[:8]


def _link(previous: Digest, payload: bytes | memoryview) -> Digest:
    return tagged("journal-entry", previous, payload)


def _payload(entry: Entry) -> bytes:
    name = entry.step.value.encode("ascii")
    payload = bytes([len(name)]) + name + entry.body
    if len(payload) > MAX_PAYLOAD:
        raise InputError("journal entry", expected=f"at most {MAX_PAYLOAD} bytes", got=len(payload))
    return payload


def _entry(path: Path, payload: memoryview) -> Entry:
    end = 1 + payload[0]
    name = bytes(payload[1:end]).decode("ascii", "replace")
    try:
        return Entry(Step(name), bytes(payload[end:]))
    except ValueError as error:
        raise FormatError(
            f"{path} has a step of another version", got=name, remedy="use the release of fedchain that wrote it"
        ) from error
