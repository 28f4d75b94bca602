"""What the tracking process keeps of an ended run in MLflow: pictures, checkpoints, and a version of the model.

The registered model is called as the experiment; a version's tags say which recorded model it is (CID, digest), where
it is sealed (chain, round hash) and what was spent for it. One run is one version, however often it is told.
MLflow's registry is for looking things up: what may be used, and who approved it, is in `fedchain model`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from fedchain.adapters.plots import Story, pictures
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO
from fedchain.ports.watcher import ModelKept

MODEL: Final = "model"
PLOTS: Final = "plots"
_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"


def keep(client: MlflowClient, run: str, event: ModelKept) -> str:
    """Log an ended run's files to an MLflow run and register its model; return why that failed, "" if it did not."""
    metrics = RoundMetrics.read(Path(event.folder) / "metrics.jsonl")
    try:
        _log(client, run, event, metrics)
        if not event.is_debug:
            _register(client, run, event, metrics)
    except (MlflowException, OSError) as error:
        return " ".join(str(error).split())[:300]
    return ""


def _log(client: MlflowClient, run: str, event: ModelKept, metrics: RoundMetrics) -> None:
    if metrics.by_round:
        story = Story(f"{event.experiment}, run 0x{event.run[:8]}", event.metric, metrics, event.note)
        for name, data in pictures([story]).items():
            client.log_text(run, data.decode(), f"{PLOTS}/{name}")
    for path in sorted((Path(event.folder) / "checkpoints").glob("*.safetensors")):
        client.log_artifact(run, str(path), MODEL)


def tags_of(event: ModelKept, metrics: RoundMetrics) -> dict[str, str]:
    """Return the tags of a version."""
    spent = metrics.spent.get(event.round, {})
    epsilon = {
        f"fedchain.epsilon.{client}": "unbounded" if micro == UNBOUNDED else str(micro / MICRO)
        for client, micro in sorted(spent.items())
    }
    return {
        "fedchain.run": event.run,
        "fedchain.round": str(event.round),
        "fedchain.model_cid": event.model_cid,
        "fedchain.model_digest": event.model_digest,
        "fedchain.round_hash": event.round_hash,
        "fedchain.chain": event.chain,
        **epsilon,
    }


def _register(client: MlflowClient, run: str, event: ModelKept, metrics: RoundMetrics) -> None:
    name = event.experiment
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != _EXISTS:
            raise
    tags = tags_of(event, metrics)
    known = client.search_model_versions(f"name = '{name}'")
    if any(each.tags.get("fedchain.run") == event.run and each.run_id == run for each in known):
        return
    client.create_model_version(name, f"runs:/{run}/{MODEL}", run, tags, await_creation_for=0)
