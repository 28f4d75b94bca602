"""What the models of a run take in the store, against the same models each stored whole.

The traces are real: the heart experiment's MLP trained across four hospitals, with and without differential privacy.
The noise of DP-SGD fills the low bits of every step, and nothing can make it shorter, so its rows have no bound.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from experiments.bench.measure import Row
from experiments.bench.rounds import experiment
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import open_home
from fedchain.cli.simulation import simulate
from fedchain.config import EncryptionConfig
from fedchain.core.cid import Cid
from fedchain.ports.watcher import Event, RoundEnded
from fedchain.wiring.confidential import open_artifacts
from fedchain.workflow.model_series import ModelSeries

BOUND = 0.55


def measure(hidden_sizes: tuple[int, ...], rounds: int) -> list[Row]:
    """Return two rows for each MLP with so many hidden units, trained for so many rounds."""
    return [_row(hidden, rounds, mode) for hidden in hidden_sizes for mode in ("off", "dp")]


def _row(hidden: int, rounds: int, mode: str) -> Row:
    config = experiment(hidden, rounds)
    config = replace(
        config,
        privacy=replace(config.privacy, mode="off" if mode == "off" else "dp"),
        store=replace(config.store, snapshot_every=64),
        encryption=EncryptionConfig("off"),
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        home, cids = Path(folder) / "home", list[Cid]()

        def watch(event: Event) -> None:
            if isinstance(event, RoundEnded):
                cids.append(Cid.parse(event.model_cid))

        simulate(config, home, watch, fresh=True)
        stored, series = EmbeddedStore(home / "store"), ModelSeries(open_artifacts(open_home(home)))
        changed = cids[:-1]  # the last model of a run is whole
        sizes = [len(stored.get(each)) for each in changed]
        whole = [len(series.get(each)) for each in changed]
    name = f"models as deltas, heart MLP of {15 * hidden + 1:,} parameters, privacy {mode}"
    bound = BOUND if mode == "off" else None
    note = f"{len(changed)} rounds" if bound else f"{len(changed)} rounds; the noise cannot be compressed"
    return Row(name, sum(sizes), "whole models", sum(whole), bound, note, "bytes")
