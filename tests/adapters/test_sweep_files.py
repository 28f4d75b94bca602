"""A sweep is found again by its digest, a fresh one stands beside it, and each job remembers its run and its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.adapters.home import Home, create_home
from fedchain.adapters.sweep_files import JOB_FORMAT, JobEnd, JobRecord, Slot, SweepJob, newest_sweep, start_sweep
from fedchain.core.errors import FormatError, InputError

DIGEST = b"\xab" * 32
JOBS = (SweepJob(b"\x01" * 32, ("seed=1",)), SweepJob(b"\x02" * 32, ("seed=2",)))
END = JobEnd("finished", 0, (), 2, {"auroc": "0.9"}, {"va": 2**64 - 1})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home")


def test_the_newest_sweep_of_a_digest_is_found(home: Home) -> None:
    assert newest_sweep(home, DIGEST) is None
    first = start_sweep(home, DIGEST, JOBS, 7)
    assert newest_sweep(home, DIGEST) == first
    again = start_sweep(home, DIGEST, JOBS, 8)
    assert (first.folder.name, again.folder.name) == ("abababababababab-1", "abababababababab-2")
    assert newest_sweep(home, DIGEST) == again
    assert again.record.jobs == JOBS
    assert newest_sweep(home, b"\xcd" * 32) is None


def test_ten_sweeps_are_counted_as_numbers(home: Home) -> None:
    for number in range(1, 12):
        assert start_sweep(home, DIGEST, JOBS, 7).folder.name == f"abababababababab-{number}"


def test_a_job_remembers_its_run_then_its_end_and_another_try_forgets_the_end(home: Home) -> None:
    slot = start_sweep(home, DIGEST, JOBS, 7).slot(JOBS[0].config)
    assert slot.read() == JobRecord(JOB_FORMAT, "", None)
    slot.note_run("ab" * 32)
    slot.note_end(END)
    assert slot.read() == JobRecord(JOB_FORMAT, "ab" * 32, END)
    slot.forget_end()
    assert slot.read() == JobRecord(JOB_FORMAT, "ab" * 32, None)


def test_a_job_that_failed_before_it_had_a_run_is_remembered_too(home: Home) -> None:
    slot: Slot = start_sweep(home, DIGEST, JOBS, 7).slot(JOBS[0].config)
    slot.note_end(END)
    assert slot.read() == JobRecord(JOB_FORMAT, "", END)


def test_one_process_drives_a_sweep(home: Home) -> None:
    sweep = start_sweep(home, DIGEST, JOBS, 7)
    refusal = "sweep abababababababab-1 is in use by process"
    with sweep.driven(), pytest.raises(InputError, match=refusal), sweep.driven():
        pass


def test_a_damaged_record_is_one_clear_line(home: Home) -> None:
    sweep = start_sweep(home, DIGEST, JOBS, 7)
    (sweep.folder / "sweep.json").write_bytes(b"{")
    with pytest.raises(FormatError, match="SweepRecord is not JSON"):
        newest_sweep(home, DIGEST)
