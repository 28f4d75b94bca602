"""Ending a run before its last round: from the configuration and the metrics of its models, and nothing else.

Metrics are of test rows that only a simulation has, so no record carries them. What the record shows is the closing
link after fewer rounds than the run's manifest wants; why it came is the word of whoever ran it.
"""

from __future__ import annotations

from fedchain.config import ExperimentConfig
from fedchain.core.errors import InputError
from fedchain.core.manifest import RunManifest
from fedchain.core.progress import METRICS_OF, Goal
from fedchain.core.record import LinkKind
from fedchain.workflow.run_state import RunState


def goal_of(config: ExperimentConfig) -> Goal:
    """Return what a run is watched for: the metric that is asked for, or the first of its task.

    Raises:
        InputError: if the metric is another task's.
    """
    known = METRICS_OF[config.model.task]
    metric = config.checkpoint.metric or known[0]
    if metric not in known:
        raise InputError(
            "checkpoint.metric", expected=f"{' or '.join(known)} for model.task={config.model.task}", got=metric
        )
    return Goal(metric, config.early_stopping.patience, config.early_stopping.min_delta)


def models_by_round(state: RunState) -> dict[int, str]:
    """Return the CID of the model that each sealed round gave."""
    return {n: each.model.cid for n, each in sorted(state.decided.items()) if each.link.kind is LinkKind.SEALED}


def ending_of(state: RunState, manifest: RunManifest, config: ExperimentConfig) -> str:
    """Return why a closed run has fewer rounds than it wanted, "" where it has all or goes on."""
    if not state.is_closed or state.rounds_sealed >= manifest.rounds:
        return ""
    return f"stopped early after round {max(models_by_round(state), default=0)}: {goal_of(config).words}"
