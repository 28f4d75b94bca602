"""A site's database against what happens to files and processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fedchain.adapters.site_database import SiteDatabase
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release
from fedchain.ports.site_state import Charge, ChargeKey, Evidence

ROOT = Path(__file__).parents[2]
RUN, DATASET = b"\x01" * 32, b"\x0d" * 32
KEY = ChargeKey(RUN, 1, 1)
CHARGE = Charge(KEY, DATASET, Release(10**6, 7, 7), 10, 10, "prv")

# Says each step on stdout and waits for a line before the next: the parent chooses when to kill it.
CHARGING = """
import sys
from pathlib import Path
from fedchain.adapters.site_database import SiteDatabase
from fedchain.core.privacy import Release
from fedchain.ports.site_state import Charge, ChargeKey

def step(name):
    print(name, flush=True)
    sys.stdin.readline()

key = ChargeKey(b"\\x01" * 32, 1, 1)
state = SiteDatabase(Path(sys.argv[1]))
step("opened")
with state.locked():
    step("locked")
    state.charge(Charge(key, b"\\x0d" * 32, Release(10**6, 7, 7), 10, 10, "prv"))
    step("charged")
step("unlocked")
state.release(key, b"update" * 10_000)
step("released")
"""
STEPS = ("opened", "locked", "charged", "unlocked", "released")

SPENDING = """
import sys
from dataclasses import replace
from pathlib import Path
from fedchain.adapters.site_database import SiteDatabase
from fedchain.core.privacy import Release
from fedchain.ports.site_state import Charge, ChargeKey

state = SiteDatabase(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for round_ in range(1, 26):
    with state.locked():
        total = max((each.micro_epsilon_total for each in state.charges(b"\\x0d" * 32)), default=0)
        key = ChargeKey(bytes([int(sys.argv[2])]) * 32, round_, 1)
        state.charge(Charge(key, b"\\x0d" * 32, Release(10**6, 7, 7), total + 1, 1, "prv"))
state.close()
"""


@contextmanager
def program(text: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", text, *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("last", STEPS)
def test_a_site_killed_between_any_two_steps_keeps_what_it_was_told_is_kept(tmp_path: Path, last: str) -> None:
    path = tmp_path / "site.sqlite"
    with program(CHARGING, str(path)) as process:
        while line_of(process) != last:
            tell(process)
        process.send_signal(signal.SIGKILL)
    passed = STEPS.index(last)
    with closing(SiteDatabase(path)) as state, state.locked():
        assert list(state.charges(DATASET)) == ([CHARGE] if passed >= STEPS.index("charged") else [])
        assert state.released(KEY) == (b"update" * 10_000 if passed >= STEPS.index("released") else None)
        state.charge(CHARGE)  # the next process repeats the step
        assert list(state.charges(DATASET)) == [CHARGE]


def test_two_processes_that_charge_at_once_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    with program(SPENDING, str(path), "1") as one, program(SPENDING, str(path), "2") as two:
        assert [line_of(one), line_of(two)] == ["ready", "ready"]
        tell(one)
        tell(two)
        assert [one.wait(60), two.wait(60)] == [0, 0]
    with closing(SiteDatabase(path)) as state:
        assert [each.micro_epsilon_total for each in state.charges(DATASET)] == list(range(1, 51))


def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "site.sqlite"
    with closing(SiteDatabase(path)) as state:
        state.charge(CHARGE)
        state.release(KEY, b"update")
        state.set_noise_multiplier(RUN, DATASET, 870_000)
        state.keep(Evidence.PROMISE, RUN, 1, b"promise")
        salt = state.salt("heart")
    with closing(SiteDatabase(path)) as state:
        assert list(state.charges(DATASET)) == [CHARGE]
        assert state.released(KEY) == b"update"
        assert state.noise_multiplier(RUN, DATASET) == 870_000
        assert state.kept(Evidence.PROMISE, RUN, 1) == b"promise"
        assert state.salt("heart") == salt


def test_a_salt_is_32_bytes_of_the_given_entropy_drawn_once_for_each_name(tmp_path: Path) -> None:
    drawn = iter(bytes([number]) * 32 for number in range(1, 9))
    with closing(SiteDatabase(tmp_path / "site.sqlite", lambda size: next(drawn)[:size])) as state:
        first = state.salt("one")
        assert first == b"\x01" * 32
        assert state.salt("two") != first
        assert state.salt("one") == first


def test_salts_of_two_sites_differ(tmp_path: Path) -> None:
    with closing(SiteDatabase(tmp_path / "a.sqlite")) as one, closing(SiteDatabase(tmp_path / "b.sqlite")) as two:
        assert one.salt("heart") != two.salt("heart")


def test_files_and_folders_are_for_the_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "sites" / "one"
    with closing(SiteDatabase(folder / "site.sqlite")) as state:
        state.charge(CHARGE)
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()}
        assert {"site.sqlite", "site.sqlite-wal", "site.lock"} <= set(modes)
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_writes_are_synchronous_and_go_to_a_log(tmp_path: Path) -> None:
    with closing(SiteDatabase(tmp_path / "site.sqlite")) as state:
        assert state._number("PRAGMA synchronous") == 2
        assert state._run("PRAGMA journal_mode") == [("wal",)]


def test_a_database_of_a_later_release_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    SiteDatabase(path).close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA user_version = 2")
    before = path.read_bytes()
    with pytest.raises(InputError, match="another release: expected format 1, got format 2"):
        SiteDatabase(path)
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE mine (x)")
        raw.commit()
    before = path.read_bytes()
    with pytest.raises(InputError, match="no site state of fedchain"):
        SiteDatabase(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    path.write_bytes(b"not a database " * 100)
    with pytest.raises(InputError, match="damaged"):
        SiteDatabase(path)


def test_a_database_with_a_torn_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    with closing(SiteDatabase(path)) as state:
        for round_ in range(200):
            state.release(ChargeKey(RUN, round_, 1), bytes(500))
    data = bytearray(path.read_bytes())
    data[8192:12288] = b"\xff" * 4096
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        SiteDatabase(path)


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "site.sqlite"
    with closing(SiteDatabase(path)) as state:
        state.charge(CHARGE)
        pages = state._number("PRAGMA page_count")
        state._run(f"PRAGMA max_page_count = {pages}")  # SQLite then answers as on a full disk
        with pytest.raises(InputError, match=r"full.*check free space"):
            state.release(KEY, bytes(1_000_000))
        assert state.released(KEY) is None
        assert list(state.charges(DATASET)) == [CHARGE]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError):
        SiteDatabase(tmp_path / "file" / "site.sqlite")
