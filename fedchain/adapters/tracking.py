"""A watcher that records a run in MLflow, without weighing on it.

Importing MLflow takes seconds and making its database as many again, so a process of its own does both: events go to
it as lines through a pipe, and a run never waits for a database. When the run is killed, the pipe ends and the process
still logs what it was given. Tracking is for looking at; the record is the ledger. If tracking fails, the run goes on
and one warning says so.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, cast, get_args

from fedchain.adapters.files import PRIVATE_FILE, explained, make_folder
from fedchain.adapters.identity import INSTALLATION
from fedchain.core.errors import FormatError
from fedchain.ports.watcher import Event

_PIPE_BYTES: Final = 1 << 20
_LOG: Final = "tracking.log"
_DRAIN_S: Final = 120
NOT_KEPT: Final = 3
"""Exit code of a tracking process that logged everything, and whose server did not take files or model."""

_QUIET: Final = {
    "DO_NOT_TRACK": "true",  # no usage statistics to anybody
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a dead server is given up after seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "PYTHONWARNINGS": "ignore",
}
_EVENTS: Final[dict[str, Callable[..., Event]]] = {each.__name__: each for each in get_args(Event)}


def tracking_uri(folder: Path, environ: Mapping[str, str]) -> str:
    """Return MLFLOW_TRACKING_URI if it is set, else the SQLite database in the home's folder."""
    return environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"


@contextmanager
def tracked(folder: Path, uri: str, warn: Callable[[str], None]) -> Iterator[Tracker]:
    """Give a watcher that logs to the tracking server at `uri`; its own files lie in `folder`.

    On leaving, waits until everything is logged. `warn` gets at most one line, if tracking failed; nothing is raised
    for that reason.

    Raises:
        InputError: if `folder` cannot be made or written.
    """
    make_folder(folder)
    log = folder / _LOG
    with explained(log):
        log.touch(mode=PRIVATE_FILE)
        errors = log.open("ab")
    with errors:
        tracker = Tracker(_start(folder, uri, errors), warn, log)
        try:
            yield tracker
        finally:
            tracker.close()


class Tracker:
    """Hands events to the tracking process; safe for use from several threads."""

    def __init__(self, process: subprocess.Popen[bytes], warn: Callable[[str], None], log: Path) -> None:
        self._process = process
        self._warn = warn
        self._log = log
        self._lock = threading.Lock()
        self._has_failed = False

    def __call__(self, event: Event) -> None:
        """Send an event; after a failure, do nothing."""
        self.tell("", event)

    def tell(self, job: str, event: Event) -> None:
        """Send an event of a sweep's job."""
        with self._lock:
            if self._has_failed:
                return
            try:
                self._pipe.write(to_line(event, job))
                self._pipe.flush()
            except OSError:
                self._fail()

    def close(self) -> None:
        """End the pipe and wait until the process has logged everything."""
        with self._lock:
            try:
                self._pipe.close()
            except OSError:
                self._fail()
            try:
                code = self._process.wait(_DRAIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                code = self._process.wait()
            if code == NOT_KEPT:
                self._warn(
                    f"MLflow did not take the run's files or its model, the run is not affected: see {self._log}"
                )
            elif code:
                self._fail()

    @property
    def _pipe(self) -> IO[bytes]:
        return cast("IO[bytes]", self._process.stdin)

    def _fail(self) -> None:
        if not self._has_failed:
            self._has_failed = True
            self._warn(f"MLflow tracking failed, the run is not affected: see {self._log}")


def to_line(event: Event, job: str = "") -> bytes:
    """Encode an event for the pipe, of a sweep's job where several share it."""
    return json.dumps([type(event).__name__, dataclasses.asdict(event), job]).encode() + b"\n"


def from_line(line: bytes) -> tuple[str, Event]:
    """Decode an event from the pipe; return the job that it is of, too.

    Raises:
        FormatError: if it is none.
    """
    try:
        name, fields, job = json.loads(line)
        return str(job), _EVENTS[name](**fields)
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError("a line of the tracking pipe", expected="an event", got=repr(line[:80])) from error


def _start(folder: Path, uri: str, errors: IO[bytes]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, (str(INSTALLATION), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(  # noqa: S603 - this interpreter, a module of ours, no shell
        [sys.executable, "-P", "-m", "fedchain.adapters.tracking_process", str(folder.resolve() / "artifacts")],
        stdin=subprocess.PIPE,
        stdout=errors,
        stderr=errors,
        env={**os.environ, **_QUIET, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": uri},
        pipesize=_PIPE_BYTES,
    )
