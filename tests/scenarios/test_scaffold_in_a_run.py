"""SCAFFOLD by the command line: messages carry the control, sites keep theirs on disk, and the record verifies."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def fedchain(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "fedchain.cli.main", *command, "--home", "home", "--json"]
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("privacy", ["dp", "off"])
def test_a_run_with_controls_verifies_and_says_that_sites_train_by_themselves(privacy: str, tmp_path: Path) -> None:
    done = fedchain(tmp_path, "run", "strategy=scaffold", "rounds=3", "ledger=log", f"privacy={privacy}")
    assert done.returncode == 0, done.stderr
    assert "corrects each step by controls that only the sites have" in done.stderr
    document = json.loads(done.stdout)
    assert (document["rounds"], document["rejections"]) == (3, [])
    verified = fedchain(tmp_path, "verify", "--trust", "home/trust.json")
    assert verified.returncode == 0, verified.stderr
    rederived = {each["name"]: each["instances"] for each in json.loads(verified.stdout)["claims"]["re-derived"]}
    assert (rederived["model"], rederived["state"]) == (3, 3)
