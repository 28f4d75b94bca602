"""A run over actors of Ray: the same model and record as in one process; killed it resumes, a refusal is one line."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from fedchain.config import LedgerConfig, SimulationConfig
from fedchain.core.lineage import Verdict
from fedchain.wiring.runs import runs
from tests.scenarios.genuine import SMALL
from tests.scenarios.test_the_engine_trains_a_run import charges_of, verdict_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is an extra: requirements-dev.lock has it"),
]

ROOT: Final = Path(__file__).resolve().parents[2]
IN_ACTORS: Final = replace(
    SMALL, seed=5, ledger=LedgerConfig("log", 0), simulation=SimulationConfig(None, "sites", 2, "ray")
)
LONG_S: Final = 300
"""Seconds after which a process counts as hanging."""
COMMAND: Final = (sys.executable, "-m", "fedchain.cli.main", "run", "experiment=heart", "privacy=off", "rounds=2")
KILLED: Final = """
import os, signal, sys
from pathlib import Path
from fedchain.ports.watcher import UpdateAdmitted
from tests.scenarios.genuine import run_quietly
from tests.scenarios.test_run_on_ray import IN_ACTORS

def watch(event):
    if sys.argv[2] == "die" and isinstance(event, UpdateAdmitted):
        os.kill(os.getpid(), signal.SIGKILL)

run_quietly(IN_ACTORS, Path(sys.argv[1]), watch)
"""
FAULTY: Final = """
import os
import numpy as np
from fedchain.adapters.datasets.own import make_partition
from fedchain.adapters.datasets.partition import Partition
from fedchain.core.policy import DataPolicy, GrantKind

def partitions():
    if os.getpid() != int(os.environ["FIRST"]):
        raise OSError("the disk of this site is gone")
    policy = DataPolicy("people", "made up", GrantKind.SANDBOX, 12_000_000, 10_000_000, "example", True)
    rows = np.random.default_rng(1).normal(size=(2, 50, 4))
    return [make_partition(name, x, (x[:, 0] > 0) * 1.0, policy) for name, x in zip(("north", "south"), rows)]
"""


def quietly(command: tuple[str, ...], folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **more}
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, check=False, timeout=LONG_S
    )


def ran(home: Path, *overrides: str) -> dict[str, Any]:
    done = quietly((*COMMAND, *overrides, "--json", "--home", str(home)), home.parent)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "WARNING" not in done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_actors_give_the_model_of_one_process_and_its_record_verifies(tmp_path: Path) -> None:
    actors = ran(tmp_path / "ray", "simulation=ray", "simulation.workers=2")
    alone = ran(tmp_path / "local", "simulation.engine=sites", "simulation.workers=2")
    assert actors["model_digest"] == alone["model_digest"]
    assert actors["rejections"] == []
    assert verdict_of(tmp_path / "ray") is Verdict.VERIFIED


def test_killed_in_a_round_it_goes_on_there_and_no_site_is_charged_twice(tmp_path: Path) -> None:
    command = (sys.executable, "-c", KILLED, str(tmp_path / "home"))
    assert quietly((*command, "die"), ROOT).returncode == -signal.SIGKILL
    done = quietly((*command, "live"), ROOT)
    assert done.returncode == 0, done.stderr
    assert all(charges == [(1, 1), (2, 1)] for charges in charges_of(tmp_path / "home").values())
    assert [row.state for row in runs(tmp_path / "home")] == ["finished"]
    assert verdict_of(tmp_path / "home") is Verdict.VERIFIED


def test_what_a_site_refuses_in_an_actor_comes_back_as_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FAULTY)
    own = ("data.name=custom", "data.target=mine:partitions", "rewards=off", "simulation=ray", "simulation.workers=1")
    start = (
        "import os, sys; os.environ['FIRST'] = str(os.getpid()); from fedchain.cli.main import main; sys.exit(main())"
    )
    done = quietly((sys.executable, "-c", start, *COMMAND[3:], *own, "--home", str(tmp_path / "home")), tmp_path)
    assert done.returncode == 4, done.stderr
    line = done.stderr.splitlines()[-1]
    assert line.startswith("fedchain: round 1 was aborted: expected updates of at least 2 clients, got fewer, since ")
    assert "mine:partitions failed with OSError: the disk of this site is gone" in line
    assert "Traceback" not in done.stderr
