"""How a run is doing: each new model evaluated on the sites' test rows, kept by round, and asked whether it is enough.

A simulation only can: the rows are the sites' own. Choosing a model by them makes its figures look better than they
are on other rows, which every place that shows them says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fedchain.adapters.home import Home
from fedchain.adapters.model_files import Checkpoint, write_model
from fedchain.adapters.round_metrics import Metrics, RoundMetrics, Spent
from fedchain.config import ExperimentConfig
from fedchain.core.cid import Cid
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import ArtifactRef, RunManifest
from fedchain.core.progress import Goal, best_round, is_enough
from fedchain.core.record import LinkKind
from fedchain.core.tensors import FloatTensors, decode
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.watcher import ModelKept
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.run_state import Accepted, RunState
from fedchain.workflow.stopping import goal_of, models_by_round
from fedchain.workflow.summary import CheckpointSummary

LAST: Final = "last"
BEST: Final = "best"


def metrics_path(home: Home, run: str) -> Path:
    """Where the metrics of a run lie, in hex."""
    return home.journal(run).with_name("metrics.jsonl")


def checkpoint_path(home: Home, run: str, name: str) -> Path:
    """Where the last or the best model of a run lies as a file."""
    return home.journal(run).with_name("checkpoints") / f"{name}.safetensors"


def plots_path(home: Home, run: str) -> Path:
    """Where the pictures of a run lie."""
    return home.journal(run).with_name("plots")


@dataclass(frozen=True, slots=True)
class Progress:
    """The metrics of one run as it goes; `evaluate` takes a round and its model's canonical bytes.

    `spent` is up to now.
    """

    goal: Goal
    metrics: RoundMetrics
    models: ModelSeries
    evaluate: Callable[[int, bytes], Metrics]
    spent: Spent = field(default_factory=Spent)

    def take(self, round_: int, cid: str) -> Metrics:
        """Evaluate a round's model and keep its metrics, with what was spent up to now."""
        found = self.evaluate(round_, self.models.get(Cid.parse(cid)))
        self.metrics.add(round_, cid, found, self.spent)
        return found

    def catch_up(self, state: RunState, names: Mapping[bytes, str]) -> Iterator[tuple[int, Metrics]]:
        """Evaluate the models that a crash came before; afterwards `spent` is what the whole journal says."""
        for round_, decided in sorted(state.decided.items()):
            self._add((*decided.accepted,), names)
            if decided.link.kind is LinkKind.SEALED and round_ not in self.metrics.by_round:
                yield round_, self.take(round_, decided.model.cid)
        self._add((*state.accepted.values(),), names)

    def is_enough(self, state: RunState) -> bool:
        """Whether the run should end. Of a state whose models were all evaluated it always says the same."""
        if not self.goal.patience:
            return False
        if models_by_round(state).keys() != self.metrics.by_round.keys():
            raise AssertionError("each model is evaluated when its round ends")
        return is_enough(self.goal, self.metrics.values(self.goal.metric))

    def _add(self, accepted: Sequence[Accepted], names: Mapping[bytes, str]) -> None:
        for each in accepted:
            self.spent[names.get(each.signer, each.signer.hex())] = each.header.dp.run_micro_epsilon


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


def kept(home: Home, config: ExperimentConfig, state: RunState, identity: LedgerIdentity) -> ModelKept:
    """Return what is told of an ended run's newest model, "" for the seal of a run without any."""
    if state.planned is None or state.last_model is None:
        raise AssertionError("a run that ended has a model")
    round_, run = max(models_by_round(state), default=0), state.planned.run.hex()
    sealed = state.sealed.get(round_)
    return ModelKept(
        run=run,
        experiment=config.experiment,
        round=round_,
        model_cid=state.last_model.cid,
        model_digest=state.last_model.digest.hex(),
        round_hash="" if sealed is None else sealed.round_hash.hex(),
        chain=f"{identity.chain_id}:0x{identity.rounds_contract.hex()}",
        metric=goal_of(config).metric,
        folder=str(metrics_path(home, run).parent),
        note=note_of(config),
        is_debug=config.debug.mode == "on",
    )


def note_of(config: ExperimentConfig) -> str:
    """Return what has to stand under a run's pictures."""
    private = f"Epsilon is at delta {config.privacy.delta:g}." if config.privacy.mode == "dp" else ""
    debug = "DEBUG: a try-out, which says nothing about quality." if config.debug.mode == "on" else ""
    return " ".join(filter(None, (private, debug)))


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
