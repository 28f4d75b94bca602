"""A stranger's script and a stranger's folder: they run, they verify, and the verifier imports nothing of theirs."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "quickstart.md").read_text()


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run as a stranger would: another folder, fedchain installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def verified(folder: Path, home: str) -> dict[str, object]:
    """Verify where the stranger's code is a trap: whoever imports it fails."""
    for path in folder.glob("*.py"):
        path.write_text("raise SystemExit('the verifier imported code that a record names')\n")
    command = ("-m", "fedchain.cli.main", "verify", "--home", home, "--trust", f"{home}/trust.json", "--json")
    done = run(folder, *command)
    assert done.returncode == 0, done.stderr
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.mark.slow
def test_the_quickstarts_script_runs_verifies_and_is_tracked(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(script.splitlines()) <= 30
    header = re.findall(r"```csv\n(.*?)\n", PAGE)[0]
    rows = [
        f"{clinic},{n % 7 - 3},{n % 5 - 2},{n % 3 - 1},{n % 2},{int(n % 7 + n % 5 > 5)}"
        for clinic, count in (("North", 60), ("South", 80), ("East", 40))
        for n in range(count)
    ]
    (tmp_path / "patients.csv").write_text("\n".join([header, *rows]) + "\n")
    (tmp_path / "script.py").write_text(script)
    done = run(tmp_path, "script.py")
    assert done.returncode == 0, done.stderr
    aurocs = [float(text) for text in re.findall(r"round \d: AUROC (\d\.\d+)", done.stdout)]
    assert len(aurocs) == 3
    assert aurocs[-1] > 0.7
    assert "verified against a pinned head" in done.stdout
    with sqlite3.connect(tmp_path / "home" / "mlflow" / "mlflow.db") as database:
        assert database.execute("select count(*) from runs where status = 'FINISHED'").fetchone() == (1,)
    assert verified(tmp_path, "home")["verified"] is True


@pytest.mark.slow
def test_a_new_experiment_runs_as_it_is(tmp_path: Path) -> None:
    assert run(tmp_path, "-m", "fedchain.cli.main", "new", "mine").returncode == 0
    again = run(tmp_path, "-m", "fedchain.cli.main", "new", "mine")
    assert (again.returncode, "exists already" in again.stderr) == (2, True)
    folder = tmp_path / "mine"
    command = ("-m", "fedchain.cli.main", "run", "--config-dir", "conf", "experiment=mine", "--json")
    done = run(folder, *command)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rounds"] == 3
    assert document["metrics"]["overall"]["auroc"] > 0.7
    assert set(document["privacy"]) == {"north", "south", "east"}
    (folder / "data" / "policy.json").unlink()
    refused = run(folder, *command)
    assert (refused.returncode, "the data have no policy" in refused.stderr) == (4, True)
    assert verified(folder, ".fedchain")["verified"] is True


STRATEGY = """\
import numpy as np


def clipped(base, mean, state, limit=0.5):
    most = int(limit * 2**24)
    rounds = state.get("rounds", np.zeros(1, np.int32)) + np.int32(1)
    return {name: base[name] + np.clip(each, -most, most) for name, each in mean.items()}, {"rounds": rounds}
"""


@pytest.mark.slow
def test_a_strategy_of_ones_own_is_anchored_for_strangers_and_re_derived_for_who_has_its_code(tmp_path: Path) -> None:
    (tmp_path / "rule.py").write_text(STRATEGY)
    own = ("strategy.name=custom", "strategy.target='rule:clipped'", "strategy.options.limit=0.1")
    command = (
        "-m",
        "fedchain.cli.main",
        "run",
        "experiment=heart",
        "rounds=2",
        "rewards=off",
        "ledger=log",
        "privacy=off",
    )
    done = run(tmp_path, *command, *own, "--home", "home", "--json")
    assert done.returncode == 0, done.stderr
    verify = ("-m", "fedchain.cli.main", "verify", "--home", "home", "--trust", "home/trust.json", "--json")
    mine = json.loads(run(tmp_path, *verify, "--strategy", "rule:clipped").stdout)
    assert (mine["verdict"], mine["exit"]) == ("verified against a pinned head", 0)
    (tmp_path / "rule.py").write_text(STRATEGY.replace("0.5", "0.25"))
    other = run(tmp_path, *verify, "--strategy", "rule:clipped")
    assert (other.returncode, "the strategy rule:clipped is not the recorded one" in other.stderr) == (2, True)
    (tmp_path / "rule.py").write_text("raise SystemExit('the verifier imported code that a record names')\n")
    theirs = json.loads(run(tmp_path, *verify).stdout)
    assert theirs["exit"] == 3
    assert [each["instances"] for each in theirs["claims"]["anchored"] if each["name"] == "own model"] == [2]
    assert "model" not in {each["name"] for each in theirs["claims"]["re-derived"]}
