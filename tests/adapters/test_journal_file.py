from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from fedchain.adapters import journal_file
from fedchain.adapters.journal_file import MAGIC, FileJournal, read_journal
from fedchain.core.errors import InputError, IntegrityError
from fedchain.ports.journal import Entry, Step

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
WRITTEN = (
    Entry(Step.PLANNED, b"{}"),
    Entry(Step.OPENED, b""),
    Entry(Step.ACCEPTED, bytes(range(200))),
    Entry(Step.SEALED, b"last"),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "ab" / "journal"
    journal = FileJournal(path)
    for each in WRITTEN:
        journal.append(each)
    journal.close()
    return path


def boundaries(data: bytes) -> list[int]:
    """The offsets at which an entry ends, from the frame's own lengths."""
    found = [len(MAGIC)]
    while found[-1] < len(data):
        found.append(found[-1] + 44 + struct.unpack_from(">I", data, found[-1])[0])
    return found


def test_a_cut_at_every_byte_drops_the_torn_entry_and_keeps_all_before(path: Path) -> None:
    data = path.read_bytes()
    ends = boundaries(data)
    for size in range(len(MAGIC), len(data)):
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends) - 1
        assert read_journal(path) == WRITTEN[:whole]


def test_a_cut_within_the_first_line_is_damage(path: Path) -> None:
    data = path.read_bytes()
    for size in range(len(MAGIC)):
        path.write_bytes(data[:size])
        with pytest.raises(IntegrityError, match="no journal of this version"):
            read_journal(path)


def test_a_flip_of_any_bit_of_any_byte_is_damage_and_never_a_shorter_journal(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for position in range(len(data)):
        for bit in (0, 3, 7):
            data[position] ^= 1 << bit
            path.write_bytes(data)
            with pytest.raises(IntegrityError):
                read_journal(path)
            data[position] ^= 1 << bit


def test_a_dropped_a_doubled_and_a_swapped_entry_each_show(path: Path) -> None:
    data = path.read_bytes()
    a, b, c, d, _ = boundaries(data)
    for altered in (
        data[:b] + data[c:],
        data[:c] + data[b:],
        data[:a] + data[b:c] + data[a:b] + data[c:],
        data[:c] + data[b:c] + data[d:],
    ):
        path.write_bytes(altered)
        with pytest.raises(IntegrityError):
            read_journal(path)


def test_zeros_after_the_last_entry_are_what_a_power_cut_leaves(path: Path) -> None:
    whole = path.read_bytes()
    for zeros in (1, 43, 44, 45, 5000):
        path.write_bytes(whole + bytes(zeros))
        assert read_journal(path) == WRITTEN


def test_zeros_before_an_entry_are_damage(path: Path) -> None:
    data = path.read_bytes()
    start = boundaries(data)[2]
    path.write_bytes(data[:start] + bytes(44) + data[start:])
    with pytest.raises(IntegrityError):
        read_journal(path)


def test_opening_cuts_the_torn_entry_off_and_appending_goes_on(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    journal = FileJournal(path)
    assert path.stat().st_size == boundaries(data)[-2]
    journal.append(Entry(Step.FINISHED, b"again"))
    assert journal.entries() == (*WRITTEN[:-1], Entry(Step.FINISHED, b"again"))


@pytest.mark.parametrize("cut", [1, 45, 60, 100])
def test_of_entries_that_are_appended_together_a_crash_leaves_the_first_ones(tmp_path: Path, cut: int) -> None:
    journal = FileJournal(tmp_path / "journal")
    entries = [Entry(Step.ACCEPTED, b"%d" % number) for number in range(3)]
    journal.append(*entries)
    journal.close()
    data = (tmp_path / "journal").read_bytes()
    (tmp_path / "journal").write_bytes(data[:-cut])
    whole = [end for end in boundaries(data) if end <= len(data) - cut]
    assert read_journal(tmp_path / "journal") == tuple(entries[: len(whole) - 1])


def test_reading_leaves_a_torn_entry_where_it_is(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    before = path.read_bytes()
    read_journal(path)
    assert path.read_bytes() == before


def test_another_process_that_wrote_meanwhile_is_noticed(path: Path) -> None:
    first, second = FileJournal(path), FileJournal(path)
    second.append(Entry(Step.FINISHED, b"second"))
    with pytest.raises(IntegrityError, match="changed by others"):
        first.append(Entry(Step.FINISHED, b"first"))


def test_an_entry_that_another_release_wrote_is_refused_by_name(path: Path) -> None:
    journal = FileJournal(path)
    data = path.read_bytes()
    journal.append(Entry(Step.FINISHED, b""))
    journal.close()
    start = len(data)
    last = bytes(journal_file._FRAME.unpack_from(data, boundaries(data)[-2])[2])
    payload = b"\x05later"
    frame = journal_file._FRAME.pack(
        len(payload), journal_file._check(last, len(payload)), journal_file._link(last, payload)
    )
    path.write_bytes(data[:start] + frame + payload)
    with pytest.raises(InputError, match="step of another version"):
        read_journal(path)


def test_the_file_is_for_its_owner_only(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_missing_journal_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_journal(tmp_path / "none")


FILLER = """
import resource, signal, sys
from pathlib import Path
from fedchain.adapters.journal_file import FileJournal
from fedchain.core.errors import InputError
from fedchain.ports.journal import Entry, Step
path = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100,) * 2)
journal = FileJournal(path)
for size in (1000, 0):
    try:
        journal.append(Entry(Step.FINISHED, bytes(size)))
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_nothing_half_written_and_the_journal_resumable(path: Path) -> None:
    """A real write that the kernel cuts short: the file may not grow beyond a limit."""
    before = path.read_bytes()
    said = subprocess.run([sys.executable, "-c", FILLER, str(path)], env=ENVIRONMENT, capture_output=True, check=True)
    first, second = said.stdout.decode().splitlines()
    assert "no room to write" in first
    assert "free some space" in first
    assert "repeat the command to resume" in second
    assert path.read_bytes() == before
    FileJournal(path).append(Entry(Step.FINISHED, b"room again"))
    assert read_journal(path)[-1].body == b"room again"


WRITER = """
import sys
from pathlib import Path
from fedchain.adapters.journal_file import FileJournal
from fedchain.ports.journal import Entry, Step
journal = FileJournal(Path(sys.argv[1]))
for number in range(10**9):
    journal.append(Entry(Step.ACCEPTED, b"%d" % number))
    print(number, flush=True)
"""


def test_what_a_killed_process_acknowledged_is_there(tmp_path: Path) -> None:
    path = tmp_path / "killed" / "journal"
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdout=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(30)]
    child.kill()
    acknowledged += [int(line) for line in child.stdout.read().split()]
    child.stdout.close()
    child.wait()
    FileJournal(path).close()
    bodies = [int(each.body) for each in read_journal(path)]
    assert bodies == list(range(len(bodies)))
    assert len(bodies) >= len(acknowledged)
