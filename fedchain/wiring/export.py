"""One model of a home's record as a safetensors file, for tools that know nothing of fedchain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.files import new_file
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.model_files import Checkpoint, encoded
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.config import ExperimentConfig
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError
from fedchain.core.manifest import RunManifest
from fedchain.core.progress import best_round
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.progress import checkpoint_of, floats_of, metrics_path, model_of
from fedchain.workflow.audit_config import read_config
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.planning import read_plan
from fedchain.workflow.run_state import RunState
from fedchain.workflow.stopping import goal_of, models_by_round


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A run of the home: its metrics by round, the one that it is watched by, and which round was best by that."""

    manifest: RunManifest
    config: ExperimentConfig
    state: RunState
    metrics: RoundMetrics
    metric: str
    best: int | None

    @property
    def newest(self) -> int:
        """The last round that gave a model, 0 before the first."""
        return max(models_by_round(self.state), default=0)


def export(home: Path, name: str, to: Path, *, best: bool) -> Checkpoint:
    """Write a model to a new file: the newest or the best one of a run, or the one with a CID or digest.

    Raises:
        InputError: if no model or several have that name, the file is there already, or the model cannot be read.
    """
    opened = open_home(home)
    store = open_artifacts(opened)
    run, round_ = _chosen(recorded_runs(opened, store), name, best=best)
    model, value = model_of(run.manifest, run.state, round_), run.metrics.values(run.metric).get(round_)
    checkpoint = checkpoint_of(run.manifest.run.hex(), round_, model, run.metric, value)
    tensors = floats_of(ModelSeries(store), model.cid)
    with new_file(to) as file:
        file.write(encoded(tensors, checkpoint.metadata()))
    return checkpoint


def recorded_runs(home: Home, store: ArtifactStore) -> list[RecordedRun]:
    """Return the runs of a home, oldest first.

    Raises:
        FedchainError: if one cannot be read.
    """
    names = sorted(each.name for each in home.runs.iterdir()) if home.runs.is_dir() else []
    found = [run for name in names if (run := _recorded(home, name, store)) is not None]
    return sorted(found, key=lambda each: (each.manifest.created_at, each.manifest.run))


def run_named(runs: Sequence[RecordedRun], name: str) -> RecordedRun:
    """Return the run whose id begins so.

    Raises:
        InputError: if there is none, or more than one.
    """
    wanted = name.removeprefix("0x").lower()
    found = [each for each in runs if wanted and each.manifest.run.hex().startswith(wanted)]
    if len(found) != 1:
        expected = "the beginning of one run" if found else "a run, a CID or a digest of this home"
        raise InputError("model", expected=expected, got=repr(name[:100]), remedy="`fedchain runs` lists them")
    return found[0]


def _recorded(home: Home, name: str, store: ArtifactStore) -> RecordedRun | None:
    state = RunState.replay(read_journal(home.journal(name)))
    if state.planned is None:
        return None
    manifest = read_plan(store, state.planned.manifest_cid, 0).manifest
    config = read_config(store.get(Cid.parse(manifest.config.cid)))
    goal = goal_of(config)
    metrics = RoundMetrics.read(metrics_path(home, name), models_by_round(state))
    return RecordedRun(manifest, config, state, metrics, goal.metric, best_round(goal, metrics.values(goal.metric)))


def _chosen(runs: Sequence[RecordedRun], name: str, *, best: bool) -> tuple[RecordedRun, int]:
    for run in runs:
        for round_ in (0, *models_by_round(run.state)):
            model = model_of(run.manifest, run.state, round_)
            if name in (model.cid, model.digest.hex(), f"0x{model.digest.hex()}"):
                return run, round_
    run = run_named(runs, name)
    if best and run.best is None:
        raise InputError(
            "--best", expected=f"{run.metric} of the run's models", got="none", remedy="leave it out for the newest"
        )
    return run, run.best if best and run.best is not None else run.newest
