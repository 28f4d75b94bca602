"""The journal of what was sent: durable, shared by processes, one chooser of nonces at a time."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fedchain.adapters.evm.fees import Fees
from fedchain.adapters.evm.intents import Attempt, Intent, Place, account_of, intents_in_memory, open_intents
from fedchain.adapters.evm.waiting import Deadline, SystemStopwatch
from fedchain.core.errors import InputError, UnreachableError
from tests.doubles.stopwatch import ManualStopwatch

ACCOUNT, OTHER = account_of(1, b"\x01" * 20), account_of(2, b"\x01" * 20)
FIRST, SECOND = (Attempt(bytes([n]) * 32, b"\x02" + bytes([n]), Fees(10**30 * n, n)) for n in (1, 2))
INTENT = Intent(7, b"\x05" * 32, (FIRST,))


def test_what_was_journaled_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "intents.sqlite"
    intents = open_intents(path)
    intents.add(ACCOUNT, INTENT)
    intents.add_attempt(ACCOUNT, 7, SECOND)
    intents.place(ACCOUNT, 7, Place(12, b"\x09" * 32))
    intents.close()
    again = open_intents(path)
    assert again.of(ACCOUNT) == [Intent(7, INTENT.call, (FIRST, SECOND), Place(12, b"\x09" * 32))]
    assert again.find(ACCOUNT, 7) == again.of(ACCOUNT)[0]
    assert again.find(ACCOUNT, 8) is None
    again.close()


def test_keys_and_chains_are_apart_and_nonces_in_order() -> None:
    intents = intents_in_memory()
    for nonce in (9, 2, 5):
        intents.add(ACCOUNT, Intent(nonce, bytes(32), (FIRST,)))
    intents.add(OTHER, INTENT)
    assert [intent.nonce for intent in intents.of(ACCOUNT)] == [2, 5, 9]
    assert [intent.nonce for intent in intents.of(OTHER)] == [7]


def test_a_nonce_is_taken_once(tmp_path: Path) -> None:
    intents = open_intents(tmp_path / "intents")
    intents.add(ACCOUNT, INTENT)
    with pytest.raises(InputError):
        intents.add(ACCOUNT, INTENT)
    assert len(intents.of(ACCOUNT)) == 1
    intents.close()


def test_what_is_buried_is_forgotten_and_what_fell_out_is_not() -> None:
    intents = intents_in_memory()
    for nonce, block in enumerate((10, 11, None)):
        intents.add(ACCOUNT, Intent(nonce, bytes(32), (FIRST, SECOND)))
        intents.place(ACCOUNT, nonce, None if block is None else Place(block, bytes(32)))
    intents.forget_up_to(ACCOUNT, 10)
    assert [intent.nonce for intent in intents.of(ACCOUNT)] == [1, 2]
    intents.place(ACCOUNT, 1, None)
    intents.forget_up_to(ACCOUNT, 99)
    assert [intent.nonce for intent in intents.of(ACCOUNT)] == [1, 2]
    intents.remove(ACCOUNT, 1)
    intents.add(ACCOUNT, Intent(1, bytes(32), (FIRST,)))
    assert intents.of(ACCOUNT)[0].attempts == (FIRST,)


def test_one_process_at_a_time_chooses_nonces(tmp_path: Path) -> None:
    path = tmp_path / "intents.sqlite"
    intents = open_intents(path)
    holder = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, f"{path}.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        message = "another thread or process is sending"
        with (
            pytest.raises(UnreachableError, match=message),
            intents.exclusive(Deadline(ManualStopwatch(), 5)),
        ):
            raise AssertionError("two at once")
        process.kill()
    with intents.exclusive(Deadline(SystemStopwatch(), 5)):
        assert intents.of(ACCOUNT) == []
    intents.close()


def test_two_holders_in_one_process_exclude_each_other(tmp_path: Path) -> None:
    one, other = (open_intents(tmp_path / "intents.sqlite") for _ in range(2))
    with (
        one.exclusive(Deadline(ManualStopwatch(), 1)),
        pytest.raises(UnreachableError),
        other.exclusive(Deadline(ManualStopwatch(), 1)),
    ):
        raise AssertionError("two at once")
    with other.exclusive(Deadline(ManualStopwatch(), 1)):
        one.close()
    other.close()


def test_another_file_is_not_taken_for_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "foreign.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    with pytest.raises(InputError, match="no journal of transactions"):
        open_intents(path)
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(InputError):
        open_intents(path)
