"""A whole run by the engine: the models are those of sites that train by themselves, and its record is as good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from fedchain.adapters.home import Home, open_home
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.config import ExperimentConfig, PrivacyConfig, SimulationConfig
from fedchain.core.cid import Cid
from fedchain.core.lineage import Verdict
from fedchain.core.tensors import decode
from fedchain.ports.watcher import Event, Notice
from fedchain.wiring.bench import load_data
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.hospitals import dataset_of
from fedchain.wiring.record import verify
from fedchain.wiring.runs import runs
from tests.scenarios.genuine import SMALL, run_quietly

ROOT: Final = Path(__file__).resolve().parents[2]
BY_SITES: Final = SimulationConfig(None, engine="sites")
PRIVATE: Final = replace(SMALL, seed=9, privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0))
KILLED: Final = """
import os, signal, sys
from pathlib import Path
from fedchain.adapters.training.engine.cohort import CohortEngine
from tests.scenarios.genuine import run_quietly
from tests.scenarios.test_the_engine_trains_a_run import PRIVATE
CohortEngine.train = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run_quietly(PRIVATE, Path(sys.argv[1]))
"""


def model_of(config: ExperimentConfig, home: Path) -> dict[str, np.ndarray]:
    run = run_quietly(config, home).hex()
    cid = next(row.model_cid for row in runs(home) if row.run == run)
    return dict(decode(open_artifacts(Home(home)).get(Cid.parse(cid))))


def verdict_of(home: Path) -> Verdict:
    return verify(home, run=None, heads=(), trust=open_home(home).trust, scrub=False).verdict


def charges_of(home: Path) -> dict[str, list[tuple[int, int]]]:
    """The round and attempt of every charge, by hospital."""
    charges: dict[str, list[tuple[int, int]]] = {}
    for each in load_data(SMALL.data, ROOT):
        state = SiteDatabase(open_home(home).site(each.name) / "site.sqlite")
        charges[each.name] = [(c.key.round, c.key.attempt) for c in state.charges(dataset_of(each, state))]
        state.close()
    return charges


def test_a_run_by_the_engine_is_a_run_by_its_sites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    train = CohortEngine.train

    def counted(engine: CohortEngine, base: dict[str, np.ndarray], rounds: dict[str, object]) -> object:
        trained.append(len(rounds))
        return train(engine, base, rounds)  # type: ignore[arg-type]  # handed on as it came

    monkeypatch.setattr(CohortEngine, "train", counted)
    together = model_of(SMALL, tmp_path / "engine")
    assert trained == [4, 4]
    alone = model_of(replace(SMALL, simulation=BY_SITES), tmp_path / "sites")
    assert trained == [4, 4]
    assert together.keys() == alone.keys()
    for name, tensor in alone.items():
        assert np.abs(together[name].astype(np.int64) - tensor).max() <= 1, "one unit of 2^-24, where a rounding tips"
    for home in ("engine", "sites"):
        assert verdict_of(tmp_path / home) is Verdict.VERIFIED


@pytest.mark.slow
def test_killed_within_the_engine_every_site_keeps_its_charge_and_is_charged_no_second_time(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert all(charges == [(1, 1)] for charges in charges_of(tmp_path).values())
    run_quietly(PRIVATE, tmp_path)
    assert all(charges == [(1, 1), (2, 1)] for charges in charges_of(tmp_path).values())
    assert len(runs(tmp_path)) == 1
    assert verdict_of(tmp_path) is Verdict.VERIFIED


@pytest.mark.slow
def test_what_the_engine_does_not_take_is_said_once_and_trained_by_the_sites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, Notice):
            seen.append(event.text)

    monkeypatch.setattr(CohortEngine, "refusal", lambda *_: "it is odd")
    monkeypatch.setattr(CohortEngine, "train", None)
    run_quietly(replace(SMALL, rounds=1), tmp_path, watch)
    assert seen == ["each site trains by itself, since the engine does not take the model: it is odd"]
    assert verdict_of(tmp_path) is Verdict.VERIFIED
