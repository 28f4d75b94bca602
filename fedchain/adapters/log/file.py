"""The file of a log: writers take turns, any number of readers, nothing ever changed.

Layout: the line `fedchain/log/1`, then one frame an entry:

    4 bytes   length of the payload, big-endian
    8 bytes   check: first 8 bytes of sha256(tag, root before || length)
    payload   the entry, then 65 bytes: the log key's signature over the tree head after it

An entry and its tree head are written at once and synced before anybody is told. The check makes the length trustworthy
before the payload is read, so only a file that really ends too early is a torn write, which was never acknowledged: a
writer cuts it off, a reader does not see it. So is a tail of zeros, which a power cut leaves where only the new size
was recorded. Everything else that does not fit is damage. A log cut between two entries looks whole: a tree head or a
round hash from elsewhere shows what is missing. Who appends holds the file locked, and first takes what others did.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from fedchain.adapters.files import create_file, explained, make_folder, write_all
from fedchain.adapters.log.entries import LOG_FORMAT, Body, Entry, LogTerms
from fedchain.adapters.log.state import Change, LogState, Signed, check_head, written
from fedchain.core.digest import Digest, tagged
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import FedchainError, FormatError, InputError, IntegrityError, RejectedTransactionError
from fedchain.core.signatures import SIGNATURE_SIZE
from fedchain.ports.clock import Clock
from fedchain.ports.signer import Signer

MAGIC: Final = LOG_FORMAT.encode() + b"\n"
MAX_PAYLOAD: Final = 1 << 20
_FRAME: Final = struct.Struct(">I8s")


class Log(Protocol):
    """A log that can be read."""

    def current(self) -> LogState:
        """Return the state after every entry that is there; nobody else's to change.

        Raises:
            IntegrityError: if what came since the last time is damaged.
        """
        ...


class LogReader:
    """Reads a log beside its writer or after it; each byte is checked once."""

    def __init__(self, path: Path, key: bytes) -> None:
        """Open the log of a key, given by its address.

        Raises:
            InputError: if there is none, or it cannot be read.
            IntegrityError: if a byte of it is not what the key signed.
        """
        self._path = path
        self._state = LogState(key)
        self._lock = threading.Lock()
        self._read = 0
        self.current()
        _terms(path, self._state)

    def current(self) -> LogState:
        """Return the state after every entry that is there.

        Raises:
            IntegrityError: if what came since the last time is damaged, or the file has become shorter.
        """
        with self._lock, explained(self._path), self._path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size < self._read:
                raise _shrunk(self._path, self._read, size)
            file.seek(self._read)
            self._read += take_frames(self._path, self._state, file.read(), self._read)
        return self._state


class LogWriter:
    """A writer of a log, beside others; what it has verified or written it does not read again."""

    def __init__(self, path: Path, key: Signer, clock: Clock) -> None:
        """Open the log for appending and cut a torn last entry off.

        Raises:
            InputError: if there is none, or it cannot be read or written.
            IntegrityError: if a byte of it is not what the key signed.
        """
        self._path, self._key, self._clock = path, key, clock
        self._state = LogState(key.address)
        self._turn = threading.Lock()
        self._is_broken = False
        self._size = 0
        with explained(path):
            self._descriptor = os.open(path, os.O_RDWR)
        try:
            with self._alone():
                self._catch_up(cut=True)
            _terms(path, self._state)
        except FedchainError:
            self.close()
            raise

    def current(self) -> LogState:
        """Return the state after every entry, those of other writers included.

        Raises:
            IntegrityError: if what came since the last time is damaged, or the file has become shorter.
        """
        with self._turn:
            if not self._is_broken:
                self._catch_up(cut=False)
        return self._state

    def append(self, writer: Signer, body: Body, authority: bytes = b"") -> Change:
        """Add an entry in the name of a writer, durably before it returns.

        Raises:
            RejectedTransactionError: if a rule is against it.
            InputError: if it cannot be written; then the log takes no more entries until it is opened anew, because
                after a failed fsync nobody knows what the disk holds.
            IntegrityError: if what another process appended meanwhile is damaged.
        """
        with self._turn:
            if self._is_broken:
                raise InputError(f"{self._path} failed before", remedy="repeat the command to resume")
            with self._alone():
                self._catch_up(cut=True)
                at = max(self._clock.now(), self._state.last_at + 1)
                frame, change, signature = _framed(self._state, self._key, writer, at, (body, authority))
                self._write(frame)
                self._size += len(frame)
            self._state.take(change, signature)
            return change

    def close(self) -> None:
        """Give the file back; appending is over."""
        with self._turn:
            if not self._is_broken:
                os.close(self._descriptor)
            self._is_broken = True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers out: an append takes milliseconds, and the kernel frees the lock of one that dies."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            if not self._is_broken:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _catch_up(self, *, cut: bool) -> None:
        """Take what others appended since; alone, a torn write is a dead writer's and is cut off."""
        with explained(self._path):
            size = os.fstat(self._descriptor).st_size
            if size < self._size:
                raise _shrunk(self._path, self._size, size)
            if size > self._size:
                with os.fdopen(self._descriptor, "rb", closefd=False) as file:
                    file.seek(self._size)
                    self._size += take_frames(self._path, self._state, file.read(size - self._size), self._size)
            if cut and self._size < size:
                os.ftruncate(self._descriptor, self._size)
                os.fsync(self._descriptor)

    def _write(self, frame: bytes) -> None:
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


def create_log(path: Path, key: Signer, clock: Clock, terms: LogTerms) -> None:
    """Begin a log with its terms, all at once; one that is there already must have the same terms.

    Raises:
        InputError: if it cannot be written, or is another federation's.
    """
    make_folder(path.parent)
    if not path.exists():
        frame, _, _ = _framed(LogState(key.address), key, key, clock.now(), (terms, b""))
        create_file(path, MAGIC + frame)
    found = _terms(path, LogReader(path, key.address).current())
    if found != terms:
        raise InputError(
            f"{path} serves others",
            expected=f"federation 0x{terms.federation.hex()}",
            got=f"federation 0x{found.federation.hex()}",
            remedy="choose another home with --home",
        )


def take_frames(path: Path, state: LogState, data: bytes, offset: int) -> int:
    """Take every whole frame of `data`, which begins at `offset` of the file; return how many bytes they are.

    Raises:
        IntegrityError: at the first frame that is not what the log's key signed, or that breaks a rule.
    """
    start = 0
    if offset == 0:
        if not data.startswith(MAGIC):
            raise IntegrityError(f"{path} is no log of this version", expected=LOG_FORMAT, got=data[:20])
        start = len(MAGIC)
    view = memoryview(data)
    while not _is_torn(view[start:]):
        length, check = _FRAME.unpack_from(view, start)
        end = start + _FRAME.size + length
        if length > MAX_PAYLOAD or check != _check(state.tree.root(), length):
            raise _damage(path, offset + start, "length")
        if end > len(view):
            break
        try:
            _take(state, bytes(view[start + _FRAME.size : end]))
        except (IntegrityError, FormatError) as error:
            raise _damage(path, offset + start, str(error)) from error
        start = end
    return start


def _framed(
    state: LogState, key: Signer, writer: Signer, at: int, content: tuple[Body, bytes]
) -> tuple[bytes, Change, bytes]:
    """Return the next frame, what it changes, and the signature under the tree head after it."""
    body, authority = content
    draft = written(body, index=state.tree.size, at=at, authority=authority)
    try:
        statement = draft.statement(state.tree.root())
        entry = replace(draft, writer_signature=writer.sign(signing_digest(state.domain, statement)))
        change = state.change(entry)
    except IntegrityError as error:
        raise RejectedTransactionError(f"refused: {error}") from error
    signature = key.sign(signing_digest(state.domain, change.head))
    payload = entry.to_bytes() + signature
    return _FRAME.pack(len(payload), _check(state.tree.root(), len(payload))) + payload, change, signature


def _take(state: LogState, payload: bytes) -> None:
    entry, signature = Entry.from_bytes(payload[:-SIGNATURE_SIZE]), payload[-SIGNATURE_SIZE:]
    change = state.change(entry)
    check_head(state.domain, Signed(change.head, signature))
    state.take(change, signature)


def _terms(path: Path, state: LogState) -> LogTerms:
    if state.terms is None:
        raise IntegrityError(f"{path} has no first entry", remedy="restore it from a copy")
    return state.terms


def _is_torn(tail: memoryview) -> bool:
    return len(tail) < _FRAME.size or not any(tail)


def _check(root: Digest, length: int) -> bytes:
    return tagged("log-length", root, length.to_bytes(4))[:8]


def _damage(path: Path, offset: int, why: str) -> IntegrityError:
    return IntegrityError(f"{path} is damaged at byte {offset}", got=why[:200], remedy="restore it from a copy")


def _shrunk(path: Path, expected: int, got: int) -> IntegrityError:
    return IntegrityError(f"{path} has become shorter", expected=f"at least {expected} bytes", got=got)
