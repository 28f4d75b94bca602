"""The chain's file: all of a block or none, one writer, and a clear word where the file is not what it should be."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from eth_hash.auto import keccak

from fedchain.adapters.evm.database import ChainDatabase, LogQuery, LogRow, open_database
from fedchain.core.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chain" / "chain.sqlite"


def _created(path: Path) -> ChainDatabase:
    database = open_database(path, write=True)
    with database.transaction():
        database.create(7)
    return database


def _row(block: int, position: int = 0, **changes: object) -> LogRow:
    fields: dict[str, object] = {
        "block_hash": b"b" * 32, "timestamp": 5, "transaction_hash": b"t" * 32, "address": b"a" * 20, "data": b"d",
        "topics": (b"0" * 32, b"1" * 32),
    }  # fmt: skip
    return LogRow(block, position, **(fields | changes))  # type: ignore[arg-type]  # a table of different types


def test_what_a_transaction_wrote_is_there_after_reopening(path: Path) -> None:
    database = _created(path)
    with database.transaction():
        database.pairs[b"key"] = b"value"
        database.add_logs([_row(1)])
    database.close()
    again = open_database(path, write=True)
    assert again.chain_id() == 7
    assert again.pairs[b"key"] == b"value"
    assert again.logs(LogQuery(0, 9)) == [_row(1)]
    again.close()


def test_an_interrupted_transaction_leaves_nothing(path: Path) -> None:
    database = _created(path)
    with contextlib.suppress(KeyError), database.transaction():
        database.pairs[b"key"] = b"value"
        database.add_logs([_row(1)])
        _ = database.pairs[b"another key"]
    assert b"key" not in database.pairs
    assert database.logs(LogQuery(0, 9)) == []
    database.close()


def test_a_genesis_that_was_interrupted_leaves_a_file_without_one(path: Path) -> None:
    database = open_database(path, write=True)
    with contextlib.suppress(KeyError), database.transaction():
        database.create(7)
        raise KeyError
    assert database.chain_id() is None
    database.close()
    _created(path).close()


def test_a_snapshot_does_not_move_while_another_connection_writes(path: Path) -> None:
    writer = _created(path)
    reader = open_database(path, write=False)
    with reader.snapshot():
        assert b"key" not in reader.pairs
        with writer.transaction():
            writer.pairs[b"key"] = b"value"
        assert b"key" not in reader.pairs
    with reader.snapshot():
        assert reader.pairs[b"key"] == b"value"
    reader.close()
    writer.close()


def test_a_second_writer_goes_on_from_what_the_first_wrote(path: Path) -> None:
    first = _created(path)
    second = open_database(path, write=True)
    for database, other, value in ((first, second, b"one"), (second, first, b"two")):
        with database.transaction():
            database.pairs[b"key"] = value
        with other.transaction():
            assert other.pairs[b"key"] == value
    first.close()
    second.close()


def test_a_file_that_was_refused_is_not_left_locked(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(InputError, match="damaged or no chain"):
            open_database(path, write=True)
    path.unlink()
    open_database(path, write=True).close()


def test_a_reader_cannot_write(path: Path) -> None:
    _created(path).close()
    reader = open_database(path, write=False)
    with pytest.raises(InputError, match="cannot open"), reader.transaction():
        reader.pairs[b"key"] = b"value"
    reader.close()


def test_a_missing_file_is_no_chain_and_is_not_created_by_reading(path: Path) -> None:
    with pytest.raises(InputError, match="no chain"):
        open_database(path, write=False)
    assert not path.parent.exists()


@pytest.mark.parametrize("write", [True, False])
def test_a_database_of_another_application_is_refused_and_unchanged(path: Path, write: bool) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(InputError, match="no chain that this version reads"):
        open_database(path, write=write)
    assert path.read_bytes() == before


def test_a_chain_of_another_format_is_refused(path: Path) -> None:
    _created(path).close()
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    for write in (True, False):
        with pytest.raises(InputError, match="got format 99"):
            open_database(path, write=write)


def test_a_directory_in_the_way_is_one_clear_line(path: Path) -> None:
    path.parent.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot write"):
        open_database(path, write=True)


def test_a_full_disk_is_one_clear_line_and_loses_nothing(path: Path) -> None:
    database = _created(path)
    with database.transaction():
        database.pairs[b"before"] = b"value"
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0]
    database._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(InputError, match="no space left for the chain"), database.transaction():
        database.pairs[b"after"] = bytes(100_000)
    database._connection.execute(f"PRAGMA max_page_count = {pages + 2000}")
    assert database.pairs[b"before"] == b"value"
    assert b"after" not in database.pairs
    with database.transaction():
        database.pairs[b"after"] = bytes(100_000)
    database.close()


def test_a_value_that_does_not_hash_to_its_key_is_never_returned(path: Path) -> None:
    database = _created(path)
    with database.transaction():
        database.pairs[keccak(b"node")] = b"node"
        database.pairs[keccak(b"other")] = b"changed"
    assert database.pairs[keccak(b"node")] == b"node"
    with pytest.raises(InputError, match="damaged"):
        _ = database.pairs[keccak(b"other")]
    database.close()


def test_pairs_behave_as_a_dictionary(path: Path) -> None:
    database = _created(path)
    with database.transaction():
        database.pairs[b"key"] = b"value"
        database.pairs[b"key"] = b"newer"
    assert database.pairs[b"key"] == b"newer"
    with database.transaction():
        del database.pairs[b"key"]
    assert b"key" not in database.pairs
    with pytest.raises(KeyError), database.transaction():
        del database.pairs[b"key"]
    database.close()


def test_logs_are_found_by_block_address_and_topics_in_chain_order(path: Path) -> None:
    database = _created(path)
    rows = [
        _row(1, 0), _row(1, 1, address=b"c" * 20), _row(2, 0, topics=()), _row(3, 0, topics=(b"0" * 32, b"9" * 32)),
    ]  # fmt: skip
    with database.transaction():
        database.add_logs(list(reversed(rows)))
    for query, expected in (
        (LogQuery(0, 9), rows),
        (LogQuery(1, 1), rows[:2]),
        (LogQuery(2, 3), rows[2:]),
        (LogQuery(0, 9, [b"c" * 20]), rows[1:2]),
        (LogQuery(0, 9, [b"c" * 20, b"a" * 20]), rows),
        (LogQuery(0, 9, topics=[[], [b"9" * 32]]), rows[3:]),
        (LogQuery(0, 9, topics=[[b"0" * 32], [b"1" * 32, b"9" * 32]]), [rows[0], rows[1], rows[3]]),
        (LogQuery(4, 9), []),
    ):
        assert database.logs(query) == expected
    database.close()
