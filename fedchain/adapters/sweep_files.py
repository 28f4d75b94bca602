"""What a home remembers of a sweep, in a folder of its own: the jobs, which run each of them has, and how it ended.

    sweeps/<name>/sweep.json          the jobs, written once
    sweeps/<name>/<job>.json          the job's run, noted before that run exists, and its end once it has one
    sweeps/<name>/<job>.events        what the job's process says while it runs, a line an event; begun anew each time
    sweeps/<name>/<job>.log           what its libraries print
    sweeps/<name>/lock                held while the sweep is driven
    sweeps/<name>/machine             the one on which the first job was started, this time

A job is named by the digest of its configuration. `name` is the beginning of the sweep's digest and a number, which
grows with each fresh start. Files are replaced whole, so a killed sweep leaves each as it was or as it is to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from fedchain.adapters.files import create_file, explained, make_folder, replace_file
from fedchain.adapters.home import Home
from fedchain.adapters.locks import held
from fedchain.core import document
from fedchain.core.errors import InputError, IntegrityError

SWEEP_FORMAT: Final = "fedchain/sweep/1"
JOB_FORMAT: Final = "fedchain/sweep-job/1"
_DIGITS: Final = 16
_MACHINE: Final = "machine"


@dataclass(frozen=True, slots=True)
class SweepJob:
    """One configuration of a sweep, by its digest, and the overrides that make it."""

    config: bytes
    overrides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """A sweep: its digest (of all configurations and of the code), when it was started, its jobs."""

    format: str
    digest: bytes
    created_at: int
    jobs: tuple[SweepJob, ...]


@dataclass(frozen=True, slots=True)
class JobEnd:
    """How a job ended: its exit code and, where it failed, why.

    `metrics` are overall ones as decimal strings, `micro_epsilon` is by client, of the run alone.
    """

    state: Literal["finished", "failed"]
    exit: int
    errors: tuple[str, ...]
    rounds: int
    metrics: dict[str, str]
    micro_epsilon: dict[str, int]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's run (hex, "" before there is one) and its end, None while it has none."""

    format: str
    run: str
    end: JobEnd | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A job's place in the folder of its sweep."""

    folder: Path
    config: bytes

    @property
    def sweep(self) -> str:
        """The sweep's name."""
        return self.folder.name

    @property
    def events(self) -> Path:
        """The file of what the job says."""
        return self.folder / f"{self.config.hex()}.events"

    @property
    def log(self) -> Path:
        """The file of what its libraries print."""
        return self.folder / f"{self.config.hex()}.log"

    def check_machine(self, name: str) -> None:
        """Check that the jobs of the sweep run on one machine: SQLite's shared memory does not reach another.

        Raises:
            InputError: if an earlier job has started on another one.
        """
        path = self.folder / _MACHINE
        create_file(path, name.encode())
        with explained(path):
            first = path.read_bytes().decode("utf-8", "replace")
        if first != name:
            raise InputError(
                "the jobs of a sweep share one home", expected=f"all of them on {first[:80]}", got=name[:80],
                remedy="ask for one machine, such as --launcher-option slurm_nodelist=NODE",
            )  # fmt: skip

    def read(self) -> JobRecord:
        """Return what is known of the job.

        Raises:
            FormatError: if the file is damaged.
        """
        with explained(self._path):
            if not self._path.exists():
                return JobRecord(JOB_FORMAT, "", None)
            return document.from_bytes(JobRecord, self._path.read_bytes())

    def note_run(self, run: str) -> None:
        """Remember the job's run durably, before it begins."""
        replace_file(self._path, document.to_bytes(JobRecord(JOB_FORMAT, run, None)))

    def forget_end(self) -> None:
        """Make ready for another try: how an earlier one ended says nothing about it."""
        record = self.read()
        if record.end is not None:
            self.note_run(record.run)

    def note_end(self, end: JobEnd) -> None:
        """Remember how the job ended."""
        replace_file(self._path, document.to_bytes(replace(self.read(), end=end)))

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.config.hex()}.json"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep in its folder."""

    folder: Path
    record: SweepRecord

    def slot(self, config: bytes) -> Slot:
        """Return the place of a job."""
        return Slot(self.folder, config)

    @contextmanager
    def driven(self) -> Iterator[None]:
        """Be the only one that starts jobs of it.

        Raises:
            InputError: if another process does.
        """
        with held(self.folder / "lock", f"sweep {self.folder.name}", "wait until it ends"):
            with explained(self.folder):
                (self.folder / _MACHINE).unlink(missing_ok=True)
            yield


def newest_sweep(home: Home, digest: bytes) -> Sweep | None:
    """Return the last sweep that was started with this digest, or None.

    Raises:
        FormatError: if its record is damaged.
    """
    number = _newest(home, digest)
    return None if number == 0 else _read(_folder(home, digest, number), digest)


def start_sweep(home: Home, digest: bytes, jobs: tuple[SweepJob, ...], now: int) -> Sweep:
    """Write down a new sweep; an earlier one of this digest stays as it is.

    Raises:
        InputError: if it cannot be written.
    """
    folder = _folder(home, digest, _newest(home, digest) + 1)
    make_folder(folder)
    create_file(folder / "sweep.json", document.to_bytes(SweepRecord(SWEEP_FORMAT, digest, now, jobs)))
    return _read(folder, digest)


def _newest(home: Home, digest: bytes) -> int:
    with explained(home.sweeps):
        names = [each.parent.name for each in home.sweeps.glob(f"{digest.hex()[:_DIGITS]}-*/sweep.json")]
    return max((int(name.rpartition("-")[2]) for name in names), default=0)


def _folder(home: Home, digest: bytes, number: int) -> Path:
    return home.sweeps / f"{digest.hex()[:_DIGITS]}-{number}"


def _read(folder: Path, digest: bytes) -> Sweep:
    path = folder / "sweep.json"
    with explained(path):
        record = document.from_bytes(SweepRecord, path.read_bytes())
    if (record.format, record.digest) != (SWEEP_FORMAT, digest):
        raise IntegrityError(f"{path} is another sweep's", expected=f"0x{digest.hex()}", got=f"0x{record.digest.hex()}")
    return Sweep(folder, record)
