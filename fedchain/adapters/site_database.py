"""A site's memory in one SQLite file: salts, charges, calibrated noise, released updates, and what others signed.

Every write is its own transaction and on the disk before it returns (WAL, synchronous=FULL:
https://www.sqlite.org/pragma.html#pragma_synchronous), so a killed process leaves whole entries only. Reading totals
and charging is one step under `locked`, an flock on a file beside the database, which the kernel frees when its holder
dies: two runs on one site can never spend the same epsilon twice. Entries are only added, never changed; none but the
controls that a later round has replaced are dropped.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from fedchain.adapters.files import PRIVATE_FILE, explained, make_folder, sync_folder
from fedchain.core import document
from fedchain.core.digest import DIGEST_SIZE
from fedchain.core.errors import InputError, IntegrityError
from fedchain.ports.site_state import Charge, ChargeKey, Evidence

LOCK_TIMEOUT_S: Final = 60.0

_APPLICATION_ID: Final = 0x66656473
_FORMAT: Final = 1
_POLL_S: Final = 0.01
_SALT: Final = "salt"
_CHARGE: Final = "charge"
_RELEASED: Final = "released"
_CONTROL: Final = "control"
_NOISE: Final = "noise multiplier"
_ENTER: Final = "INSERT INTO entry (kind, key, dataset, body) VALUES"
_BODY: Final = "SELECT body FROM entry WHERE kind = ? AND key = ?"
_SCHEMA: Final = f"""
CREATE TABLE entry (
    number INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL, dataset TEXT NOT NULL, body BLOB NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE INDEX charges ON entry (kind, dataset, number);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_FORMAT};
"""


class SiteDatabase:
    """The SiteState of one site in the file `path` (mode 0600), made at first use; threads may share it."""

    def __init__(self, path: Path, entropy: Callable[[int], bytes] = os.urandom) -> None:
        """Open or make the database.

        Raises:
            InputError: if it cannot be read or written, is damaged, is no site database, or has another format.
        """
        self._path = path
        self._entropy = entropy
        self._mutex = threading.RLock()
        self._depth = 0
        self._charges: dict[bytes, dict[int, Charge]] = {}
        make_folder(path.parent)
        with explained(path):
            self._lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, PRIVATE_FILE)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, PRIVATE_FILE))
            sync_folder(path.parent)
        with _translated(path):
            self._sql = sqlite3.connect(path, LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            self._open()
        except InputError:
            self.close()
            raise

    def close(self) -> None:
        """Close the files."""
        self._sql.close()
        os.close(self._lock)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the site's exclusive lock, across threads and processes; a block within a block joins it.

        Raises:
            InputError: if another process holds it for longer than `LOCK_TIMEOUT_S`.
        """
        with self._mutex:
            if self._depth == 0:
                _acquire(self._lock, self._path)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if self._depth == 0:
                    fcntl.flock(self._lock, fcntl.LOCK_UN)

    def salt(self, dataset_name: str) -> bytes:
        """Return the 32-byte salt of a dataset's name, drawn once and for ever."""
        return self._first(_SALT, dataset_name, self._entropy(DIGEST_SIZE))

    def charges(self, dataset: bytes) -> Sequence[Charge]:
        """Return every charge against a dataset, oldest first."""
        query = "SELECT number, body FROM entry WHERE kind = ? AND dataset = ? AND number > ? ORDER BY number"
        with self._mutex:  # entries are only added, so that those read before stand
            known = self._charges.setdefault(dataset, {})
            for number, body in self._run(query, _CHARGE, dataset.hex(), max(known, default=0)):
                known[number] = document.from_bytes(Charge, body)
            return list(known.values())

    def charge(self, charge: Charge) -> None:
        """Record a charge durably before it returns; the same charge twice is one.

        Raises:
            IntegrityError: if the key is taken by a different charge.
        """
        self._only(_CHARGE, _attempt(charge.key), document.to_bytes(charge), charge.dataset)

    def released(self, key: ChargeKey) -> bytes | None:
        """Return the signed update persisted for an attempt, or None."""
        return self._find(_RELEASED, _attempt(key))

    def released_start(self, key: ChargeKey, size: int) -> tuple[bytes, int] | None:
        """See SiteState; the rest is not read from the disk."""
        with self._mutex, _translated(self._path):
            rows = self._run("SELECT number FROM entry WHERE kind = ? AND key = ?", _RELEASED, _attempt(key))
            if not rows:
                return None
            with self._sql.blobopen("entry", "body", rows[0][0], readonly=True) as update:
                return update.read(size), len(update)

    def release(self, key: ChargeKey, update: bytes, control: bytes = b"") -> bytes:
        """Persist a signed update, and the client's control after it, durably and at once; return what stands."""
        both = [(_RELEASED, update), (_CONTROL, control)] if control else [(_RELEASED, update)]
        rows = [value for kind, body in both for value in (kind, _attempt(key), "", body)]
        query = f"{_ENTER} {', '.join(['(?, ?, ?, ?)'] * len(both))} ON CONFLICT DO NOTHING RETURNING kind"
        if (_RELEASED,) in self._run(query, *rows):
            return update
        return self._body(_RELEASED, _attempt(key))

    def control(self, key: ChargeKey) -> bytes | None:
        """Return the client's control after a released attempt, or None."""
        return self._find(_CONTROL, _attempt(key))

    def forget_controls(self, run: bytes, before: int) -> None:
        """Drop the controls of a run's rounds before one whose own is kept."""
        keys = self._run("SELECT key FROM entry WHERE kind = ? AND key LIKE ?", _CONTROL, f"{run.hex()}/%")
        for (key,) in keys:
            if int(key.split("/")[1]) < before:
                self._run("DELETE FROM entry WHERE kind = ? AND key = ?", _CONTROL, key)

    def noise_multiplier(self, run: bytes, dataset: bytes) -> int | None:
        """Return the noise multiplier (1e-6) calibrated for a run, or None."""
        kept = self._find(_NOISE, f"{run.hex()}/{dataset.hex()}")
        return None if kept is None else int(kept)

    def set_noise_multiplier(self, run: bytes, dataset: bytes, noise_multiplier_e6: int) -> None:
        """Remember a run's calibrated noise multiplier.

        Raises:
            IntegrityError: if the run has another one for this dataset.
        """
        self._only(_NOISE, f"{run.hex()}/{dataset.hex()}", b"%d" % noise_multiplier_e6, dataset)

    def keep(self, kind: Evidence, run: bytes, round_: int, data: bytes) -> None:
        """Keep signed evidence durably.

        Raises:
            IntegrityError: if other bytes of this kind are kept for the round.
        """
        self._only(kind.value, f"{run.hex()}/{round_}", data)

    def kept(self, kind: Evidence, run: bytes, round_: int) -> bytes | None:
        """Return what is kept of this kind for a round, or None."""
        return self._find(kind.value, f"{run.hex()}/{round_}")

    def _find(self, kind: str, key: str) -> bytes | None:
        rows = self._run(_BODY, kind, key)
        return bytes(rows[0][0]) if rows else None

    def _first(self, kind: str, key: str, body: bytes, dataset: bytes = b"") -> bytes:
        """Write an entry unless its key is taken; return the body that stands."""
        query = f"{_ENTER} (?, ?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1"
        return body if self._run(query, kind, key, dataset.hex(), body) else self._body(kind, key)

    def _body(self, kind: str, key: str) -> bytes:
        return bytes(self._run(_BODY, kind, key)[0][0])

    def _only(self, kind: str, key: str, body: bytes, dataset: bytes = b"") -> None:
        """Write an entry, and refuse if its key is taken by another."""
        kept = self._first(kind, key, body, dataset)
        if kept != body:
            raise IntegrityError(f"{self._path} holds another {kind} for {key}", expected=kept[:200], got=body[:200])

    def _run(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._mutex, _translated(self._path):
            return self._sql.execute(query, values).fetchall()

    def _open(self) -> None:
        with self.locked():
            self._check_format()
            self._run("PRAGMA journal_mode = WAL")
            self._run("PRAGMA synchronous = FULL")
            if self._number("PRAGMA user_version") == 0:
                with self._mutex, _translated(self._path):
                    self._sql.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        ((verdict,),) = self._run("PRAGMA quick_check(1)")
        if verdict != "ok":
            raise _damaged(self._path, str(verdict))

    def _check_format(self) -> None:
        application, version = self._number("PRAGMA application_id"), self._number("PRAGMA user_version")
        is_new = (application, version, self._number("SELECT count(*) FROM sqlite_master")) == (0, 0, 0)
        if is_new or (application, version) == (_APPLICATION_ID, _FORMAT):
            return
        is_ours = application == _APPLICATION_ID
        raise InputError(
            f"{self._path} is {'the site state of another release' if is_ours else 'no site state of fedchain'}",
            expected=f"format {_FORMAT}",
            got=f"format {version}" if is_ours else "another kind of database",
            remedy="use the release that wrote it, or choose another home with --home",
        )

    def _number(self, query: str) -> int:
        return int(self._run(query)[0][0])


def _acquire(lock: int, path: Path) -> None:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"the site's state {path} is locked",
                    expected=f"its lock within {LOCK_TIMEOUT_S:g} s",
                    got="another process that holds it",
                    remedy="end that process, then repeat the command",
                ) from error
            time.sleep(_POLL_S)
        else:
            return


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise InputError(
            f"the site's state {path} cannot be used",
            got=error,
            remedy="check free space, permissions and other processes, then repeat the command",
        ) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"the site's state {path} is damaged", got=why, remedy="restore it from a copy")


def _attempt(key: ChargeKey) -> str:
    return f"{key.run.hex()}/{key.round}/{key.attempt}"
