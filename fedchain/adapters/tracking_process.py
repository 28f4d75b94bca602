"""The tracking process: reads events from its standard input and logs them to MLflow.

One fedchain run is one MLflow run, found again by its tag, so that a resumed run goes on in the same place. The MLflow
experiment is the experiment of the configuration; parameters are the resolved configuration, metrics have the round as
their step: `<metric>/<client>`, `<metric>/overall`, `epsilon/<client>` (this run so far) and `epsilon_total/<client>`
(the dataset's lifetime). An unbounded epsilon is no metric but a tag. Points are gathered and sent a round at a time.

Runs of one home may be under way at once: their processes take turns, so that one of them makes the database and the
experiment, and SQLite has one writer. The jobs of a sweep bear its name as a tag.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

from fedchain.adapters.files import TEMPORARY
from fedchain.adapters.locks import in_turn
from fedchain.adapters.tracking import NOT_KEPT, from_line
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO
from fedchain.ports.watcher import (
    Evaluated,
    Event,
    ModelKept,
    Notice,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    RunStarted,
    UpdateAdmitted,
)

RUN_TAG: Final = "fedchain.run"
SWEEP_TAG: Final = "fedchain.sweep"
_SQLITE: Final = "sqlite:///"
_FOREIGN: Final = re.compile(r"[^0-9A-Za-z_./ -]")
_MAX_POINTS: Final = 1000  # of one log_batch call
_MAX_PARAMS: Final = 100


@dataclass(slots=True)
class Points:
    """What waits to be sent: (name, value, round) and tags."""

    metrics: list[tuple[str, float, int]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)

    def take(self, event: Event) -> bool:
        """Gather an event; return whether it is time to send."""
        match event:
            case UpdateAdmitted():
                self._epsilon("epsilon", event.client, event.run_micro_epsilon, event.round)
                self._epsilon("epsilon_total", event.client, event.micro_epsilon_total, event.round)
            case Evaluated():
                for client, metrics in event.metrics.items():
                    self.metrics.extend((_name(metric, client), each, event.round) for metric, each in metrics.items())
            case RoundEnded():
                self.metrics.append(("aborted", float(bool(event.abort_reason)), event.round))
                self.tags |= {"fedchain.model_cid": event.model_cid, "fedchain.model_digest": event.model_digest}
            case RoundSealed():
                self.tags |= {
                    "fedchain.round_hash": event.round_hash,
                    "fedchain.seal_transaction": event.transaction,
                    "fedchain.rounds_sealed": str(event.round),
                }
            case ReplyRejected():
                self.tags[f"fedchain.rejected.round_{event.round}"] = f"{event.client}: {event.reason}"[:500]
            case RunStarted() | RoundOpened() | ReceiptSigned() | Notice() | ModelKept() | RunEnded():
                pass
        return isinstance(event, RoundSealed | Evaluated | RunEnded)

    def _epsilon(self, name: str, client: str, micro_epsilon: int, round_: int) -> None:
        if micro_epsilon == UNBOUNDED:
            self.tags["fedchain.privacy"] = "no differential privacy"
        else:
            self.metrics.append((_name(name, client), micro_epsilon / MICRO, round_))


class Recorder:
    """Logs one fedchain run through an MLflow client."""

    def __init__(self, client: MlflowClient, artifacts: Path) -> None:
        self._client = client
        self._artifacts = artifacts
        self._lock = turn_of(artifacts)
        self._points = Points()
        self._run = ""
        self._has_ended = False
        self.not_kept = ""
        """Why MLflow did not take the run's files or its model."""

    def take(self, event: Event) -> None:
        """Log an event of the run, which tells its start first."""
        if isinstance(event, RunStarted):
            with in_turn(self._lock):
                self._start(event)
        if self._points.take(event):
            with in_turn(self._lock):
                self._send()
        if isinstance(event, ModelKept):
            self._keep(event)
        self._has_ended = self._has_ended or isinstance(event, RunEnded)

    def end(self) -> None:
        """Say how the run ended; it tells nothing more."""
        if self._run:
            with in_turn(self._lock):
                self._send()
                self._client.set_terminated(self._run, "FINISHED" if self._has_ended else "KILLED")
            self._run = ""

    def _keep(self, event: ModelKept) -> None:
        from fedchain.adapters.tracking_files import keep  # noqa: PLC0415 - brings Matplotlib, at the end only

        with in_turn(self._lock):
            self.not_kept = keep(self._client, self._run, event)

    def _start(self, event: RunStarted) -> None:
        experiment = self._experiment(event.experiment)
        found = self._client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{event.run}'", max_results=1)
        if found:
            self._run = str(found[0].info.run_id)
            self._client.update_run(self._run, status="RUNNING")
            return
        tags = {RUN_TAG: event.run, "fedchain.federation": event.federation, "fedchain.config": event.config[:5000]}
        tags |= {SWEEP_TAG: event.sweep} if event.sweep else {}
        run = self._client.create_run(experiment, tags=tags, run_name=f"{event.experiment} {event.run[:8]}")
        self._run = str(run.info.run_id)
        params = [Param(key, value) for key, value in flattened(json.loads(event.config)).items()]
        for start in range(0, len(params), _MAX_PARAMS):
            self._client.log_batch(self._run, params=params[start : start + _MAX_PARAMS])

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=self._artifacts.as_uri()))

    def _send(self) -> None:
        points, self._points = self._points, Points()
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, round_) for name, value, round_ in points.metrics]
        for start in range(0, len(metrics), _MAX_POINTS):
            self._client.log_batch(self._run, metrics=metrics[start : start + _MAX_POINTS])
        tags = [RunTag(key, value) for key, value in points.tags.items()]
        for start in range(0, len(tags), _MAX_PARAMS):
            self._client.log_batch(self._run, tags=tags[start : start + _MAX_PARAMS])


def record_runs(recorder: Callable[[], Recorder], lines: Iterable[bytes]) -> list[str]:
    """Log the runs that the lines tell of: the jobs of a sweep share a pipe, and each has a recorder of its own.

    Return why MLflow did not take files or models.
    """
    recorders: dict[str, Recorder] = {}
    not_kept: list[str] = []
    try:
        for line in lines:
            job, event = from_line(line)
            one = recorders.setdefault(job, recorder())
            one.take(event)
            if isinstance(event, ModelKept):  # the last that a job tells
                not_kept += filter(None, [one.not_kept])
                if job:
                    recorders.pop(job).end()
    finally:
        for each in recorders.values():
            each.end()
    return not_kept


def make_database(uri: str) -> None:
    """Make the SQLite database of a home, under another name until it is whole: half of MLflow's is none at all."""
    path = Path(uri.removeprefix(_SQLITE))
    if not uri.startswith(_SQLITE) or path.exists():
        return
    draft = path.with_name(path.name + TEMPORARY)
    for each in (draft, draft.with_name(draft.name + "-journal")):
        each.unlink(missing_ok=True)  # of a process that was killed
    MlflowClient(f"{_SQLITE}{draft}").search_experiments(max_results=1)
    draft.replace(path)


def turn_of(artifacts: Path) -> Path:
    """Return the file that is locked while a process speaks to MLflow for the runs of a home."""
    return artifacts.with_name("tracking.lock")


def flattened(config: object, prefix: str = "") -> dict[str, str]:
    """Return the configuration's values by dotted key."""
    if not isinstance(config, dict):
        return {prefix.removesuffix("."): str(config)}
    return {key: text for name, value in config.items() for key, text in flattened(value, f"{prefix}{name}.").items()}


def _name(metric: str, client: str) -> str:
    return _FOREIGN.sub("_", f"{metric}/{client}")[:250]


def main(artifacts: str) -> None:
    """Record what comes on standard input until it ends; an interrupt of the terminal is the run's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with in_turn(turn_of(Path(artifacts))):
        make_database(os.environ.get("MLFLOW_TRACKING_URI", ""))
        client = MlflowClient()
        client.search_experiments(max_results=1)  # while the run is still getting ready
    not_kept = record_runs(lambda: Recorder(client, Path(artifacts)), sys.stdin.buffer)
    if not_kept:
        sys.stderr.write("".join(f"files or model not taken: {each}\n" for each in not_kept))
        sys.exit(NOT_KEPT)


if __name__ == "__main__":
    main(sys.argv[1])
