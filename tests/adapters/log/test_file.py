from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.files import create_file
from fedchain.adapters.log import file
from fedchain.adapters.log.entries import Entry, LogLink, LogTerms, terms_of
from fedchain.adapters.log.file import MAGIC, LogReader, LogWriter, create_log
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import FormatError, InputError, IntegrityError
from fedchain.core.messages import AddOrganisation, RegisterDataset
from fedchain.core.record import LinkKind, RoundLink
from tests.core.samples import unhex, vectors
from tests.doubles.clock import ManualClock
from tests.doubles.signer import NamedSigner

LOG, OPERATOR, AGGREGATOR, ADMIN, STRANGER = map(NamedSigner, ("log", "operator", "aggregator", "admin", "stranger"))
TERMS = terms_of(b"\xfe" * 32, OPERATOR.address, AGGREGATOR.address)
ORGANISATION = b"\x01" * 32
LINK = RoundLink(
    b"\x02" * 32, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0
)  # fmt: skip
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of four entries: its terms, an organisation, its dataset, a link."""
    path = tmp_path / "log" / "entries"
    create_log(path, LOG, ManualClock(), TERMS)
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        log.append(OPERATOR, AddOrganisation(ORGANISATION, ADMIN.address, 0))
        message = RegisterDataset(b"\x03" * 32, ORGANISATION, 303, 1)
        log.append(OPERATOR, message, ADMIN.sign(signing_digest(log.current().domain, message)))
        log.append(AGGREGATOR, LogLink(ZERO, LINK))
    return path


def frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Where each frame begins and ends."""
    start = len(MAGIC)
    while start < len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        yield start, end
        start = end


def read(path: Path) -> int:
    """The number of entries that a reader finds."""
    return LogReader(path, LOG.address).current().tree.size


def test_the_shared_vector_is_a_log(tmp_path: Path) -> None:
    known, signer = vectors("log"), unhex(vectors("eip712")["signer"])
    (tmp_path / "log").write_bytes(unhex(known["file"]))
    state = LogReader(tmp_path / "log", signer).current()
    assert [signed.head.root for signed in state.heads] == [unhex(each["root"]) for each in known["entries"]]
    assert [signed.signature for signed in state.heads] == [unhex(each["headSignature"]) for each in known["entries"]]
    assert [Entry.from_bytes(unhex(each["entry"])).at for each in known["entries"]] == [
        each["at"] for each in known["entries"]
    ]


def test_what_was_written_is_there_after_reopening_and_goes_on(path: Path) -> None:
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        before = log.current().heads[-1]
        assert log.current().tree.size == 4
        step = log.append(OPERATOR, AddOrganisation(b"\x04" * 32, ADMIN.address, 0))
        assert step.at == before.head.at + 1, "times grow even where the clock stands still"
    assert LogReader(path, LOG.address).current().tree.size == 5


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flip_of_any_byte_is_found(stride: int, path: Path) -> None:
    data = path.read_bytes()
    for position in range(0, len(data), stride):
        path.write_bytes(data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :])
        with pytest.raises(IntegrityError):
            read(path)


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_a_cut_at_any_byte_drops_the_torn_entry_and_keeps_all_before(stride: int, path: Path) -> None:
    data = path.read_bytes()
    ends = [end for _, end in frames(data)]
    for size in {*range(ends[0], len(data), stride), *ends[:-1]}:
        path.write_bytes(data[:size])
        whole = sum(end <= size for end in ends)
        assert read(path) == whole
    path.write_bytes(data[:-1])
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        assert log.current().tree.size == 3
    assert path.read_bytes() == data[: ends[2]], "the writer cut the rest off"


@pytest.mark.parametrize("zeros", [1, 11, 12, 5000])
def test_a_tail_of_zeros_is_a_torn_write(path: Path, zeros: int) -> None:
    data = path.read_bytes()
    path.write_bytes(data + bytes(zeros))
    assert read(path) == 4
    LogWriter(path, LOG, ManualClock()).close()
    assert path.read_bytes() == data


def test_a_cut_within_the_terms_or_the_first_line_is_damage(path: Path) -> None:
    data = path.read_bytes()
    ((_, first), *_) = frames(data)
    for size in range(first):
        path.write_bytes(data[:size])
        with pytest.raises(IntegrityError):
            read(path)


@pytest.mark.parametrize(("dropped", "moved"), [(1, None), (2, None), (None, (2, 3)), (None, (1, 2))])
def test_an_entry_cannot_be_dropped_or_moved(path: Path, dropped: int | None, moved: tuple[int, int] | None) -> None:
    data = path.read_bytes()
    parts = [data[start:end] for start, end in frames(data)]
    if dropped is not None:
        del parts[dropped]
    if moved is not None:
        a, b = moved
        parts[a], parts[b] = parts[b], parts[a]
    path.write_bytes(MAGIC + b"".join(parts))
    with pytest.raises(IntegrityError):
        read(path)


def test_a_log_of_another_key_is_refused(path: Path) -> None:
    with pytest.raises(IntegrityError):
        LogReader(path, STRANGER.address)
    with pytest.raises(IntegrityError):
        LogWriter(path, STRANGER, ManualClock())


def test_a_log_serves_one_federation(path: Path) -> None:
    create_log(path, LOG, ManualClock(), TERMS)
    assert read(path) == 4
    with pytest.raises(InputError, match="serves others"):
        create_log(path, LOG, ManualClock(), replace(TERMS, federation=b"\xfd" * 32))


def test_writers_take_turns_and_each_goes_on_after_the_other(path: Path) -> None:
    with closing(LogWriter(path, LOG, ManualClock())) as one, closing(LogWriter(path, LOG, ManualClock())) as other:
        for n in range(3):
            for log in (one, other):
                log.append(OPERATOR, AddOrganisation(bytes([9, n, log is one]) * 10 + b"..", ADMIN.address, 0))
        assert one.current().tree.root() == other.current().tree.root()
    assert read(path) == 4 + 6


def test_a_reader_follows_the_writer_and_reads_each_byte_once(path: Path) -> None:
    reader = LogReader(path, LOG.address)
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        for n in range(3):
            log.append(OPERATOR, AddOrganisation(bytes([9, n]) * 16, ADMIN.address, 0))
            assert reader.current().tree.size == 5 + n
            assert reader.current().heads == log.current().heads


def test_a_log_that_became_shorter_is_damage(path: Path) -> None:
    reader = LogReader(path, LOG.address)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError, match="shorter"):
        reader.current()


def test_damage_that_another_process_appended_is_never_written_over(path: Path) -> None:
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        with path.open("ab") as other:
            other.write(b"x" * 40)
        before = path.read_bytes()
        with pytest.raises(IntegrityError, match="is damaged at byte"):
            log.append(OPERATOR, AddOrganisation(b"\x04" * 32, ADMIN.address, 0))
        assert path.read_bytes() == before


def test_after_a_failed_sync_the_log_is_as_before_and_takes_nothing_more(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = path.read_bytes()
    log = LogWriter(path, LOG, ManualClock())

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="no room"):
        log.append(OPERATOR, AddOrganisation(b"\x04" * 32, ADMIN.address, 0))
    monkeypatch.undo()
    with pytest.raises(InputError, match="failed before"):
        log.append(OPERATOR, AddOrganisation(b"\x04" * 32, ADMIN.address, 0))
    assert log.current().tree.size == 4, "what was not written did not happen"
    log.close()
    assert path.read_bytes() == data


def test_an_entry_is_synced_before_the_writer_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        fsync(descriptor)
        synced.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", counted)
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        log.append(OPERATOR, AddOrganisation(b"\x04" * 32, ADMIN.address, 0))
    assert synced == [path.stat().st_size]


def test_a_writer_that_dies_within_a_write_leaves_a_log_that_goes_on(path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom fedchain.adapters.log import file\n"
        "from tests.adapters.log.test_file import *\n"
        "def torn(descriptor, data):\n    os.write(descriptor, data[:len(data) // 2])\n    os.kill(os.getpid(), 9)\n"
        "file.write_all = torn\n"
        "LogWriter(Path(sys.argv[1]), LOG, ManualClock()).append(OPERATOR, AddOrganisation(b'4' * 32, b'5' * 20, 0))\n"
    )
    died = subprocess.run([sys.executable, "-c", program, path], env=ENVIRONMENT, check=False)
    assert died.returncode == -9
    assert read(path) == 4
    with closing(LogWriter(path, LOG, ManualClock())) as log:
        log.append(OPERATOR, AddOrganisation(b"4" * 32, b"5" * 20, 0))
    assert read(path) == 5


def forged(path: Path, body: LogTerms | LogLink | AddOrganisation, writer: NamedSigner, authority: bytes = b"") -> None:
    """Append what the rules refuse, under the log's own key and without asking them."""
    state = LogReader(path, LOG.address).current()
    entry = Entry(state.tree.size, state.last_at + 1, body, authority, bytes(65))
    signature = writer.sign(signing_digest(state.domain, entry.statement(state.tree.root())))
    payload = replace(entry, writer_signature=signature).to_bytes() + bytes(65)
    with path.open("ab") as log:
        log.write(len(payload).to_bytes(4) + file._check(state.tree.root(), len(payload)) + payload)


@pytest.mark.parametrize(
    ("body", "writer", "rule"),
    [
        (TERMS, LOG, "the terms once"),
        (LogLink(ZERO, LINK), AGGREGATOR, "follows the head"),
        (LogLink(ZERO, replace(LINK, run=b"\x08" * 32)), LOG, "the aggregator as the writer"),
        (AddOrganisation(b"\x07" * 32, b"\x07" * 20, 0), LOG, "the operator"),
        (AddOrganisation(ORGANISATION, b"\x07" * 20, 0), OPERATOR, "added once"),
    ],
)
def test_the_log_itself_cannot_break_a_rule_or_play_a_writer(
    path: Path, body: LogTerms | LogLink | AddOrganisation, writer: NamedSigner, rule: str
) -> None:
    forged(path, body, writer)
    with pytest.raises(IntegrityError, match=rule):
        read(path)


def test_a_whole_entry_without_its_tree_head_is_damage(path: Path) -> None:
    forged(path, AddOrganisation(b"\x07" * 32, b"\x07" * 20, 0), OPERATOR)
    with pytest.raises(IntegrityError, match="signature"):
        read(path)


def test_a_frame_without_a_first_entry_is_no_log(tmp_path: Path) -> None:
    create_file(tmp_path / "log", MAGIC)
    with pytest.raises(IntegrityError, match="no first entry"):
        LogReader(tmp_path / "log", LOG.address)


@pytest.mark.parametrize("data", [b"", bytes(81), bytes(81) + b"\xff", bytes(81) + b"\x00\x05Wrong{}"])
def test_what_is_no_entry_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        Entry.from_bytes(data)


def test_terms_have_their_sizes() -> None:
    with pytest.raises(FormatError, match="terms"):
        terms_of(b"short", OPERATOR.address, AGGREGATOR.address)
