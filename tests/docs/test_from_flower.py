"""docs/from-flower.md: the diff applies to the app as it is, has five lines, and the app then runs and verifies."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "from-flower.md").read_text()
EXAMPLE = ROOT / "examples" / "flower-quickstart"


def diff() -> str:
    (text,) = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def changed(text: str) -> str:
    """The page's diff as `patch` would apply it: each hunk's old lines stand once in the file."""
    return re.sub(r"^[+ ]", "", re.sub(r"^-.*\n", "", text, flags=re.MULTILINE), flags=re.MULTILINE)


def apply(folder: Path) -> None:
    file = None
    for each in re.split(r"^(?=--- a/|@@ @@\n)", diff(), flags=re.MULTILINE):
        if each.startswith("--- a/"):
            file = folder / each.split()[1].removeprefix("a/")
        elif each.startswith("@@"):
            assert file is not None
            lines = each.split("\n", 1)[1]
            old = re.sub(r"^[- ]", "", re.sub(r"^\+.*\n", "", lines, flags=re.MULTILINE), flags=re.MULTILINE)
            text = file.read_text()
            assert text.count(old) == 1, f"{file.name} has not once:\n{old}"
            file.write_text(text.replace(old, changed(lines)))


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The app as it is, with its data."""
    shutil.copytree(EXAMPLE, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "heart_app" / "data").mkdir()
    for path in (ROOT / "fedchain" / "adapters" / "datasets" / "heart").glob("*.data"):
        shutil.copy(path, tmp_path / "heart_app" / "data")
    (script,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "simulate.py").write_text(script)
    return tmp_path


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FLWR_TELEMETRY_ENABLED": "0"}
    return subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_app_as_it_is_knows_nothing_of_fedchain() -> None:
    for path in EXAMPLE.rglob("*.py"):
        assert "fedchain" not in path.read_text()


def test_at_most_five_lines_change(app: Path) -> None:
    before = {path: path.read_text().splitlines() for path in app.rglob("*.py")}
    apply(app)
    added = [line for path, lines in before.items() for line in path.read_text().splitlines() if line not in lines]
    assert len(added) == 5
    assert len(re.findall(r"^\+(?!\+\+)", diff(), re.MULTILINE)) == 5


@pytest.mark.slow
def test_the_app_runs_before_and_after_and_what_it_records_verifies(app: Path) -> None:
    before = run(app, "simulate.py")
    assert before.returncode == 0, before.stderr
    assert not (app / ".fedchain").exists()
    apply(app)
    after = run(app, "simulate.py")
    assert after.returncode == 0, after.stderr
    assert (app / "final_model.pt").exists()
    for path in (app / "heart_app").glob("*.py"):
        path.write_text("raise SystemExit('the verifier imported code that a record names')\n")
    done = run(app, "-m", "fedchain.cli.main", "verify", "--trust", ".fedchain/trust.json", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["verified"], document["findings"]) == (True, [])
    unprotected = [each for each in document["claims"]["signed"] if "WITHOUT differential privacy" in str(each)]
    assert unprotected
