"""A reader's key ring: the wrapped data keys of what it may read, one SQLite file a reader, beside no artifact.

Erasing is deleting from here, so deletion is real as far as a file can make it so: freed pages are overwritten
(https://www.sqlite.org/pragma.html#pragma_secure_delete), and the write-ahead log is emptied before `erase` returns.
What a file system, a disk or a copy keeps of older bytes is beyond it. A CID that was erased stays known as such, and
takes no key again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fedchain.adapters.files import PRIVATE_FILE, explained, make_folder, sync_folder
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.encryption import WrappedKeys
from fedchain.core.errors import InputError, LockedArtifactError

_APPLICATION_ID: Final = 0x6665646B
_FORMAT: Final = 1
_TIMEOUT_S: Final = 60.0
_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS held (cid TEXT PRIMARY KEY, keys BLOB NOT NULL, content BLOB UNIQUE) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (cid TEXT PRIMARY KEY) STRICT, WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""

# Two processes may put one content at once under two keys: both are kept, and the first is the one that is found by it.
_KEEP: Final = """
INSERT INTO held (cid, keys, content)
VALUES (?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM held WHERE content = ?3) THEN NULL ELSE ?3 END)
ON CONFLICT DO NOTHING
"""


class KeyRing:
    """The ring in the file `path`, made by the first key that is kept; threads may share it."""

    def __init__(self, path: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._mutex = threading.RLock()
        self._sql: sqlite3.Connection | None = None

    @property
    def folder(self) -> Path:
        """Where the ring lies, on a disk of its reader's own."""
        return self._path.parent

    def keep(self, cid: Cid, keys: WrappedKeys, content: bytes | None = None) -> None:
        """Keep the keys of an artifact durably, the first ones stand; `content` is what `find_content` looks for.

        Raises:
            LockedArtifactError: if they were erased before.
            InputError: if the ring cannot be written.
        """
        self._keep([(cid.text, document.to_bytes(keys), content)])

    def keep_all(self, keys: Mapping[Cid, WrappedKeys]) -> None:
        """Keep the keys of artifacts durably, all or none, as `keep` does."""
        self._keep([(cid.text, document.to_bytes(each), None) for cid, each in keys.items()])

    def _keep(self, rows: Sequence[tuple[str, bytes, bytes | None]]) -> None:
        with self._mutex, _translated(self._path):
            sql = self._open()
            sql.execute("BEGIN IMMEDIATE")
            with sql:
                for name, *_ in rows:
                    if sql.execute("SELECT 1 FROM erased WHERE cid = ?", (name,)).fetchone():
                        raise LockedArtifactError(f"the keys of {name} were erased", remedy="they are gone for good")
                sql.executemany(_KEEP, rows)

    def find(self, cid: Cid) -> WrappedKeys | None:
        """Return the keys of an artifact, or None."""
        rows = self._read("SELECT keys FROM held WHERE cid = ?", cid.text)
        return document.from_bytes(WrappedKeys, bytes(rows[0][0])) if rows else None

    def find_content(self, content: bytes) -> tuple[Cid, WrappedKeys] | None:
        """Return under which CID the same content was kept before, with its keys, or None."""
        rows = self._read("SELECT cid, keys FROM held WHERE content = ?", content)
        return (Cid.parse(rows[0][0]), document.from_bytes(WrappedKeys, bytes(rows[0][1]))) if rows else None

    def is_erased(self, cid: Cid) -> bool:
        """Tell whether the keys of an artifact were erased here."""
        return bool(self._read("SELECT 1 FROM erased WHERE cid = ?", cid.text))

    def erase(self, cids: Iterable[Cid]) -> None:
        """Destroy the keys of artifacts, and remember that they were; again changes nothing.

        Raises:
            InputError: if the ring cannot be written, or a reader keeps its log from being emptied.
        """
        names = [(cid.text,) for cid in cids]
        with self._mutex, _translated(self._path):
            sql = self._open()
            sql.execute("BEGIN IMMEDIATE")
            with sql:
                sql.executemany("DELETE FROM held WHERE cid = ?", names)
                sql.executemany("INSERT INTO erased VALUES (?) ON CONFLICT DO NOTHING", names)
        self._empty_the_log()

    def rewrap(self, change: Callable[[Cid, WrappedKeys], WrappedKeys]) -> int:
        """Put other wrapped keys in the place of all that are held, at once; return how many artifacts have some.

        Raises:
            InputError: as `erase`.
        """
        if not self._path.exists():
            return 0
        with self._mutex, _translated(self._path):
            sql = self._open()
            sql.execute("BEGIN IMMEDIATE")
            with sql:
                rows = sql.execute("SELECT cid, keys FROM held").fetchall()
                for cid, held in rows:
                    keys = document.from_bytes(WrappedKeys, bytes(held))
                    changed = document.to_bytes(change(Cid.parse(cid), keys))
                    sql.execute("UPDATE held SET keys = ? WHERE cid = ?", (changed, cid))
        self._empty_the_log()
        return len(rows)

    def _empty_the_log(self) -> None:
        with self._mutex, _translated(self._path):
            ((busy, *_),) = self._open().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if busy:
            raise InputError(
                f"the erased keys still stand in the log of {self._path}", got="a process that reads the ring",
                remedy="end it, then repeat the command",
            )  # fmt: skip

    def _read(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._mutex, _translated(self._path):
            if self._sql is None and not self._path.exists():
                return []
            return self._open().execute(query, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        if self._sql is None:
            is_ours = os.access(self._path if self._path.exists() else _existing(self._path), os.W_OK)
            self._sql = self._writable() if is_ours else self._read_only()
            weakref.finalize(self, self._sql.close)
        return self._sql

    def _writable(self) -> sqlite3.Connection:
        make_folder(self._path.parent)
        with explained(self._path):
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))
            sync_folder(self._path.parent)
        sql = sqlite3.connect(self._path, self._timeout_s, isolation_level=None, check_same_thread=False)
        _check_format(self._path, sql)
        for pragma in ("secure_delete = ON", "journal_mode = WAL", "synchronous = FULL"):
            sql.execute(f"PRAGMA {pragma}").fetchall()
        if _number(sql, "PRAGMA user_version") == 0:
            sql.executescript(f"BEGIN EXCLUSIVE; {_SCHEMA} COMMIT;")
        return sql

    def _read_only(self) -> sqlite3.Connection:
        """Open a ring that this user may not write, as it stands in its file."""
        uri = f"{self._path.absolute().as_uri()}?mode=ro&immutable=1"
        sql = sqlite3.connect(uri, self._timeout_s, isolation_level=None, check_same_thread=False, uri=True)
        _check_format(self._path, sql)
        return sql


def _existing(path: Path) -> Path:
    return next(each for each in path.parents if each.exists())


def _check_format(path: Path, sql: sqlite3.Connection) -> None:
    found = tuple(_number(sql, f"PRAGMA {name}") for name in ("application_id", "user_version"))
    is_new = found == (0, 0) and _number(sql, "SELECT count(*) FROM sqlite_master") == 0
    if not is_new and found != (_APPLICATION_ID, _FORMAT):
        raise InputError(
            f"{path} is no key ring of this release", expected=f"format {_FORMAT}", got=f"format {found[1]}",
            remedy="use the release that wrote it, or restore it",
        )  # fmt: skip


def _number(sql: sqlite3.Connection, query: str) -> int:
    return int(sql.execute(query).fetchone()[0])


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(
            f"the key ring {path} cannot be used", got=error,
            remedy="check free space, permissions and other processes, then repeat the command",
        ) from error  # fmt: skip
    except sqlite3.DatabaseError as error:
        raise InputError(f"the key ring {path} is damaged", got=error, remedy="restore it from a copy") from error
