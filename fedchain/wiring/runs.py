"""The list of a home's runs, from their journals and manifests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedchain.adapters.home import Home, open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.errors import FedchainError
from fedchain.core.manifest import RunManifest
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.progress import metrics_path
from fedchain.workflow.run_state import RunState
from fedchain.workflow.stopping import models_by_round
from fedchain.workflow.summarise import row_of
from fedchain.workflow.summary import RunRow


def runs(home: Path) -> tuple[RunRow, ...]:
    """Return the runs of a home, oldest first; a run that cannot be read is listed as damaged.

    Raises:
        InputError: if there is no home.
    """
    opened = open_home(home)
    store = open_artifacts(opened)
    names = sorted(each.name for each in opened.runs.iterdir()) if opened.runs.is_dir() else []
    rows = [row for name in names if (row := _row(opened, store, name)) is not None]
    return tuple(sorted(rows, key=lambda row: (row.created_at, row.run)))


def _row(home: Home, store: ArtifactStore, name: str) -> RunRow | None:
    if not home.journal(name).exists():  # a run that another process is about to begin
        return None
    try:
        state = RunState.replay(read_journal(home.journal(name)))
        if state.planned is None:
            return None
        manifest = document.from_bytes(RunManifest, store.get(Cid.parse(state.planned.manifest_cid)))
        config = store.get(Cid.parse(manifest.config.cid)).decode()
    except FedchainError as error:
        return RunRow(name, str(error), "damaged", 0, 0, "", "{}", 0)
    row = row_of(manifest, state, config)
    measured = RoundMetrics.read(metrics_path(home, name), models_by_round(state))
    newest = max(measured.by_round, default=0)
    return replace(row, metrics=measured.by_round.get(newest, {}), micro_epsilon=measured.spent.get(newest, {}))
