"""What a key has sent and not yet seen buried: one row a nonce, durable before the first byte leaves.

An intent is journaled with its signed transaction, then sent, then confirmed with the block that holds it, and is
forgotten when that block is old enough that no reorganisation reaches it. Until then it can be sent again as it is:
the same nonce can enter a chain only once. All processes that use a key share the file; `exclusive` lets one at a time
choose a nonce. SQLite with synchronous=FULL: a commit is on the disk when it returns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.database import translated
from fedchain.adapters.evm.fees import Fees
from fedchain.adapters.evm.waiting import Deadline
from fedchain.adapters.files import explained, make_folder
from fedchain.core.errors import InputError, UnreachableError

_POLL_S: Final = 0.02
_APPLICATION_ID: Final = 0x66656469
_FORMAT: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE intents (
    account BLOB NOT NULL, nonce INTEGER NOT NULL, call BLOB NOT NULL, block INTEGER, block_hash BLOB,
    PRIMARY KEY (account, nonce)
) WITHOUT ROWID;
CREATE TABLE attempts (
    account BLOB NOT NULL, nonce INTEGER NOT NULL, number INTEGER NOT NULL,
    hash BLOB NOT NULL, raw BLOB NOT NULL, max_fee TEXT NOT NULL, tip TEXT NOT NULL,
    PRIMARY KEY (account, nonce, number),
    FOREIGN KEY (account, nonce) REFERENCES intents ON DELETE CASCADE
) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""


@dataclass(frozen=True, slots=True)
class Place:
    """The block that holds a transaction."""

    block: int
    block_hash: bytes


@dataclass(frozen=True, slots=True)
class Attempt:
    """A signed transaction as it was, or may have been, sent."""

    hash: bytes
    raw: bytes
    fees: Fees


@dataclass(frozen=True, slots=True)
class Intent:
    """One nonce: the digest of what is called, every attempt at it, and where one of them was seen in the chain."""

    nonce: int
    call: bytes
    attempts: tuple[Attempt, ...]
    place: Place | None = None


class Intents:
    """The open intents of all keys in one file, or in memory where nothing outlives the process.

    Processes share the file `lock`; there is none where no other process has the chain.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path | None, lock: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._one_at_a_time = threading.RLock()
        self._sending = threading.Lock()

    @contextmanager
    def exclusive(self, deadline: Deadline) -> Iterator[None]:
        """Be the only one, of all threads and processes, that chooses nonces here.

        Raises:
            UnreachableError: if another still does at the deadline.
        """
        if not self._sending.acquire(timeout=deadline.remaining()):
            raise self._busy()
        try:
            if self._lock is None:
                yield
                return
            descriptor = self._locked(self._lock, deadline)
            try:
                yield
            finally:
                os.close(descriptor)
        finally:
            self._sending.release()

    def of(self, account: bytes) -> list[Intent]:
        """Return the intents of an account (see `account_of`) in the order of their nonces."""
        with self._transaction():
            rows = self._connection.execute(
                "SELECT nonce, call, block, block_hash FROM intents WHERE account = ? ORDER BY nonce", (account,)
            ).fetchall()
            return [
                Intent(nonce, call, self._attempts(account, nonce), None if block is None else Place(block, hash_))
                for nonce, call, block, hash_ in rows
            ]

    def find(self, account: bytes, nonce: int) -> Intent | None:
        """Return the intent of a nonce, or None."""
        return next((intent for intent in self.of(account) if intent.nonce == nonce), None)

    def add(self, account: bytes, intent: Intent) -> None:
        """Journal a new intent; it is durable when this returns."""
        with self._transaction():
            row = (account, intent.nonce, intent.call)
            self._connection.execute("INSERT INTO intents (account, nonce, call) VALUES (?, ?, ?)", row)
            for attempt in intent.attempts:
                self._insert(account, intent.nonce, attempt)

    def add_attempt(self, account: bytes, nonce: int, attempt: Attempt) -> None:
        """Journal a replacement; it is durable when this returns."""
        with self._transaction():
            self._insert(account, nonce, attempt)

    def place(self, account: bytes, nonce: int, place: Place | None) -> None:
        """Note the block that holds the transaction, or that none does any more."""
        with self._transaction():
            self._connection.execute(
                "UPDATE intents SET block = ?, block_hash = ? WHERE account = ? AND nonce = ?",
                (place and place.block, place and place.block_hash, account, nonce),
            )

    def remove(self, account: bytes, nonce: int) -> None:
        """Forget an intent that can take no effect any more."""
        with self._transaction():
            self._connection.execute("DELETE FROM intents WHERE account = ? AND nonce = ?", (account, nonce))

    def forget_up_to(self, account: bytes, block: int) -> None:
        """Forget what stands in this block or an earlier one."""
        with self._transaction():
            self._connection.execute("DELETE FROM intents WHERE account = ? AND block <= ?", (account, block))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _insert(self, account: bytes, nonce: int, attempt: Attempt) -> None:
        query = "SELECT count(*) FROM attempts WHERE account = ? AND nonce = ?"
        (number,) = self._connection.execute(query, (account, nonce)).fetchone()
        fees = attempt.fees
        row = (account, nonce, number, attempt.hash, attempt.raw, str(fees.max_fee), str(fees.tip))
        self._connection.execute("INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def _attempts(self, account: bytes, nonce: int) -> tuple[Attempt, ...]:
        query = "SELECT hash, raw, max_fee, tip FROM attempts WHERE account = ? AND nonce = ? ORDER BY number"
        rows = self._connection.execute(query, (account, nonce))
        return tuple(Attempt(hash_, raw, Fees(int(max_fee), int(tip))) for hash_, raw, max_fee, tip in rows)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._one_at_a_time, translated(self._path or Path(":memory:")):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _locked(self, path: Path, deadline: Deadline) -> int:
        with explained(path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        while not _flocked(descriptor):
            if deadline.is_past():
                os.close(descriptor)
                raise self._busy()
            deadline.wait(_POLL_S)
        return descriptor

    def _busy(self) -> UnreachableError:
        return UnreachableError(
            "another thread or process is sending with this key",
            got=f"{self._lock or 'its memory'} locked until the deadline",
            remedy="wait for it to end, or stop it",
        )


def account_of(chain_id: int, address: bytes) -> bytes:
    """Return the name of a key on a chain."""
    return chain_id.to_bytes(32) + address


def intents_in_memory(lock: Path | None = None) -> Intents:
    """Return intents that end with this process, for a chain that mines at once or ends with it.

    Processes that write the same chain share the file `lock`, made at first use.
    """
    return Intents(_prepared(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)), None, lock)


def open_intents(path: Path) -> Intents:
    """Open the file of a home's intents, creating it where there is none; several processes may have it open.

    Raises:
        InputError: if it cannot be used, is damaged, or is another program's.
    """
    make_folder(path.parent)
    with translated(path):
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return Intents(_prepared(connection), path, path.with_name(path.name + ".lock"))
        except (sqlite3.Error, InputError):
            connection.close()
            raise


def _prepared(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("BEGIN IMMEDIATE")
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0:
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)
    elif (application, version) != (_APPLICATION_ID, _FORMAT):
        raise InputError(
            "no journal of transactions that this version reads",
            expected=f"format {_FORMAT} of application {_APPLICATION_ID:#x}",
            got=f"format {version} of application {application:#x}",
            remedy="use another home directory",
        )
    connection.execute("COMMIT")
    return connection


def _flocked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
