"""One SQLite file that holds an embedded chain: the key-value pairs of py-evm, and every log as a row.

A mined block is one SQL transaction (WAL, synchronous=FULL: https://www.sqlite.org/wal.html), so a killed writer leaves
the last whole block and nothing of the next. The keys of trie nodes, headers and code are the keccak256 of their
values; that is checked on every read, so a damaged file is never executed. Logs are stored twice, in the receipts and
as rows, because answering eth_getLogs from receipts takes seconds on a chain of thousands of blocks.

Several processes may write, a block at a time: SQLite lets one transaction write, and whatever a block rests on is read
inside it (docs/adr/0035-runs-share-a-home.md). Readers take no lock; what they read between `begin` and `end` is one
snapshot.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth.db.backends.base import BaseDB
from eth_hash.auto import keccak

from fedchain.core.errors import InputError

_APPLICATION_ID: Final = 0x66656463
_FORMAT: Final = 1
_PATIENCE_S: Final = 60.0
"""Seconds to wait for the blocks of other processes, some 30 ms each."""
_HASH_SIZE: Final = 32
_SCHEMA: Final = f"""
CREATE TABLE pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE logs (
    block INTEGER NOT NULL, position INTEGER NOT NULL, block_hash BLOB NOT NULL, timestamp INTEGER NOT NULL,
    transaction_hash BLOB NOT NULL, address BLOB NOT NULL, data BLOB NOT NULL,
    topic0 BLOB, topic1 BLOB, topic2 BLOB, topic3 BLOB,
    PRIMARY KEY (block, position)
) WITHOUT ROWID;
CREATE INDEX logs_by_third_topic ON logs (topic2);
CREATE TABLE chain (chain_id INTEGER NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log: where it stands (block number, position in the block) and what it says."""

    block: int
    position: int
    block_hash: bytes
    timestamp: int
    transaction_hash: bytes
    address: bytes
    data: bytes
    topics: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A filter in the sense of eth_getLogs; an empty set of alternatives matches everything."""

    first: int
    last: int
    addresses: Sequence[bytes] = ()
    topics: Sequence[Sequence[bytes]] = ()


class KeyValues(BaseDB):
    """py-evm's view of the table of pairs."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __getitem__(self, key: bytes) -> bytes:
        row = self._connection.execute("SELECT value FROM pairs WHERE key = ?", (key,)).fetchone()
        if row is None:
            raise KeyError(key)
        value = row[0]
        if not isinstance(value, bytes) or (len(key) == _HASH_SIZE and keccak(value) != key):
            raise InputError(
                "chain database is damaged",
                expected=f"a value that hashes to 0x{key.hex()}",
                got="another",
                remedy="restore the file from a copy",
            )
        return value

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._connection.execute("INSERT OR REPLACE INTO pairs VALUES (?, ?)", (key, value))

    def __delitem__(self, key: bytes) -> None:
        if self._connection.execute("DELETE FROM pairs WHERE key = ?", (key,)).rowcount == 0:
            raise KeyError(key)

    def _exists(self, key: bytes) -> bool:
        return self._connection.execute("SELECT 1 FROM pairs WHERE key = ?", (key,)).fetchone() is not None


class ChainDatabase:
    """An open chain file."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, is_writable: bool) -> None:
        self.path = path
        self.pairs = KeyValues(connection)
        self.is_writable = is_writable
        self._connection = connection

    def chain_id(self) -> int | None:
        """Return the chain id, or None where there is no genesis yet."""
        with self.snapshot():
            return self.present_chain_id()

    def present_chain_id(self) -> int | None:
        """Return the same inside a transaction."""
        if not self._connection.execute("PRAGMA user_version").fetchone()[0]:
            return None
        row = self._connection.execute("SELECT chain_id FROM chain").fetchone()
        if row is None or not isinstance(row[0], int):
            raise InputError(f"{self.path} is damaged", got="no chain id", remedy="restore it from a copy")
        return row[0]

    def create(self, chain_id: int) -> None:
        """Create the tables; call it inside `transaction`, together with the genesis."""
        for statement in _SCHEMA.split(";"):
            self._connection.execute(statement)
        self._connection.execute("INSERT INTO chain VALUES (?)", (chain_id,))

    def transaction(self) -> AbstractContextManager[None]:
        """Write all of it or none of it.

        Raises:
            InputError: if the disk is full or the file is damaged; nothing was written.
        """
        return self._inside("BEGIN IMMEDIATE", "COMMIT")

    def snapshot(self) -> AbstractContextManager[None]:
        """Read one consistent state, whatever another process writes meanwhile."""
        return self._inside("BEGIN", "ROLLBACK")

    @contextlib.contextmanager
    def _inside(self, begin: str, end: str) -> Iterator[None]:
        with translated(self.path):
            self._connection.execute(begin)
            try:
                yield
                self._connection.execute(end)
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def add_logs(self, rows: Sequence[LogRow]) -> None:
        """Append the logs of one block."""
        self._connection.executemany(
            "INSERT INTO logs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    row.block, row.position, row.block_hash, row.timestamp, row.transaction_hash, row.address, row.data,
                    *row.topics, *(None for _ in range(4 - len(row.topics))),
                )
                for row in rows
            ],
        )  # fmt: skip

    def logs(self, query: LogQuery) -> list[LogRow]:
        """Return the logs that match, in chain order."""
        columns = [("address", query.addresses), *((f"topic{i}", topics) for i, topics in enumerate(query.topics))]
        clauses = ["block BETWEEN ? AND ?"]
        values: list[int | bytes] = [query.first, query.last]
        for column, wanted in columns:
            if wanted:
                clauses.append(f"{column} IN ({', '.join('?' * len(wanted))})")
                values.extend(wanted)
        # Only the fixed column names above and question marks are put together here.
        statement = f"SELECT * FROM logs WHERE {' AND '.join(clauses)} ORDER BY block, position"  # noqa: S608
        return [_row(row) for row in self._connection.execute(statement, values)]

    def close(self) -> None:
        """Close the file; the last one to do so folds the write-ahead log into it."""
        with translated(self.path):
            self._connection.close()


def _row(row: tuple[Any, ...]) -> LogRow:
    block, position, block_hash, timestamp, transaction_hash, address, data, *topics = row
    present = tuple(topic for topic in topics if topic is not None)
    texts = (block_hash, transaction_hash, address, data, *present)
    if not isinstance(timestamp, int) or not all(isinstance(text, bytes) for text in texts):
        raise InputError("chain database is damaged", got=f"a log of block {block}", remedy="restore it from a copy")
    return LogRow(block, position, block_hash, timestamp, transaction_hash, address, data, present)


def open_database(path: Path, *, write: bool) -> ChainDatabase:
    """Open a chain file, creating it only to write.

    Raises:
        InputError: if the file is missing, is no chain, or is of another format.
    """
    if write:
        _make_folder(path.parent)
    elif not path.exists():
        raise InputError("no chain", expected=f"a file {path}", got="none", remedy="run an experiment first")
    return ChainDatabase(path, _connected(path, write=write), is_writable=write)


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write {path}", got=error, remedy="check the directory") from error


def _connected(path: Path, *, write: bool) -> sqlite3.Connection:
    with translated(path):
        uri = f"{path.absolute().as_uri()}?mode={'rwc' if write else 'ro'}"
        connection = sqlite3.connect(uri, _PATIENCE_S, uri=True, isolation_level=None, check_same_thread=False)
        connection.text_factory = bytes  # a damaged file may have turned one into the other
        try:
            _check_format(path, connection, write=write)
            if write:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
        except (sqlite3.Error, InputError):
            connection.close()
            raise
        return connection


def _check_format(path: Path, connection: sqlite3.Connection, *, write: bool) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if is_empty and application == version == 0 and write:
        return
    if (application, version) != (_APPLICATION_ID, _FORMAT):
        raise InputError(
            f"{path} is no chain that this version reads",
            expected=f"format {_FORMAT} of application {_APPLICATION_ID:#x}",
            got=f"format {version} of application {application:#x}",
            remedy="use another home directory",
        )


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into one line that says what to do."""
    try:
        yield
    except UnicodeDecodeError as error:  # SQLite quotes a damaged schema in its message
        raise _damaged(path, error) from error
    except sqlite3.DatabaseError as error:
        got = ascii(str(error))[:200]
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL:
                raise InputError("no space left for the chain", got=path, remedy="free some disk space") from error
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT:
                raise _damaged(path, error) from error
            case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
                raise InputError(f"cannot open {path}", got=got, remedy="check its permissions") from error
            case _:
                raise InputError(f"cannot use {path}", got=got, remedy="check the disk and who else uses it") from error


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(f"{path} is damaged or no chain", got=ascii(str(error))[:200], remedy="restore it from a copy")
