"""How a run is doing: each new model evaluated on the sites' test rows, kept by round, and asked whether it is enough.

A simulation only can: the rows are the sites' own. Choosing a model by them makes its figures look better than they
are on other rows, which every place that shows them says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.home import Home
from fedchain.adapters.model_files import Checkpoint, write_model
from fedchain.adapters.round_metrics import Metrics, RoundMetrics
from fedchain.core.cid import Cid
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import ArtifactRef, RunManifest
from fedchain.core.progress import Goal, best_round, is_enough
from fedchain.core.tensors import FloatTensors, decode
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.run_state import RunState
from fedchain.workflow.stopping import models_by_round
from fedchain.workflow.summary import CheckpointSummary

LAST: Final = "last"
BEST: Final = "best"


def metrics_path(home: Home, run: str) -> Path:
    """Where the metrics of a run lie, in hex."""
    return home.journal(run).with_name("metrics.jsonl")


def checkpoint_path(home: Home, run: str, name: str) -> Path:
    """Where the last or the best model of a run lies as a file."""
    return home.journal(run).with_name("checkpoints") / f"{name}.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """The metrics of one run as it goes; `evaluate` takes a model's canonical bytes."""

    goal: Goal
    metrics: RoundMetrics
    models: ModelSeries
    evaluate: Callable[[bytes], Metrics]

    def take(self, round_: int, cid: str) -> Metrics:
        """Evaluate a round's model and keep its metrics."""
        found = self.evaluate(self.models.get(Cid.parse(cid)))
        self.metrics.add(round_, cid, found)
        return found

    def missing(self, state: RunState) -> dict[int, str]:
        """Return the models by round that a crash came before."""
        return {n: cid for n, cid in models_by_round(state).items() if n not in self.metrics.by_round}

    def is_enough(self, state: RunState) -> bool:
        """Whether the run should end; the metrics of all its models are known then."""
        if not self.goal.patience:
            return False
        for round_, cid in self.missing(state).items():
            self.take(round_, cid)
        return is_enough(self.goal, self.metrics.values(self.goal.metric))


def checkpoints_of(home: Home, run: str, state: RunState, progress: Progress) -> tuple[CheckpointSummary, ...]:
    """Return which models of a run, in hex, are kept as files: the last and the best, if its metric is defined."""
    metric, values = progress.goal.metric, progress.metrics.values(progress.goal.metric)
    rounds = {LAST: max(models_by_round(state), default=0), BEST: best_round(progress.goal, values)}
    return tuple(
        CheckpointSummary(name, str(checkpoint_path(home, run, name)), round_, metric, values.get(round_))
        for name, round_ in rounds.items()
        if round_ is not None
    )


def write_checkpoints(home: Home, manifest: RunManifest, state: RunState, progress: Progress) -> None:
    """Write the last and the best model of a run as files."""
    run = manifest.run.hex()
    for each in checkpoints_of(home, run, state, progress):
        model = model_of(manifest, state, each.round)
        checkpoint = checkpoint_of(run, each.round, model, each.metric, each.value)
        write_model(Path(each.path), floats_of(progress.models, model.cid), checkpoint)


def model_of(manifest: RunManifest, state: RunState, round_: int) -> ArtifactRef:
    """Return the model that a sealed round gave, for 0 the one that the run began with."""
    return state.decided[round_].model if round_ else manifest.initial_model


def floats_of(models: ModelSeries, cid: str) -> FloatTensors:
    """Return a stored model in float64, exactly."""
    return FixedPoint().dequantise(decode(models.get(Cid.parse(cid))))


def checkpoint_of(run: str, round_: int, model: ArtifactRef, metric: str, value: float | None) -> Checkpoint:
    """Return what a model's file says of it."""
    scored = (metric, repr(value)) if value is not None else ("", "")
    return Checkpoint(f"0x{run}", round_, model.cid, f"0x{model.digest.hex()}", *scored)
