"""The privacy tests are worth something: each seeded fault of the mechanism, applied to a copy, makes them fail.

A mutant is a file in `mutants/`: what to replace in which source, and the tests that must notice. The unchanged copy
must pass all of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
MUTANTS = {path.stem: tomllib.loads(path.read_text()) for path in sorted((HERE / "mutants").glob("*.toml"))}
REQUIRED = {
    "noise_times_0.9", "noise_times_0.5", "noise_zero", "noise_over_sqrt_batch", "clip_off", "clip_per_batch",
    "accountant_reset_each_round", "sample_rate_from_the_config",
}  # fmt: skip
NEEDED = ("fedchain", "tests/privacy", "tests/doubles")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with its privacy tests."""
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "tests/conftest.py"):
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def outcome_of(copy: Path, tests: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/privacy/{test}" for test in tests)],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def apply(mutant: dict[str, Any], copy: Path) -> None:
    source = copy / mutant["file"]
    text = source.read_text()
    assert text.count(mutant["old"]) == 1, "the source has moved on: bring the mutant up to date"
    source.write_text(text.replace(mutant["old"], mutant["new"]))


def test_every_fault_that_the_threat_model_names_has_a_mutant_that_still_applies(copy: Path) -> None:
    assert set(MUTANTS) >= REQUIRED
    for mutant in MUTANTS.values():
        assert (copy / mutant["file"]).read_text().count(mutant["old"]) == 1, mutant["why"]


@pytest.mark.slow
def test_the_unchanged_copy_passes_what_catches_the_mutants(copy: Path) -> None:
    tests = sorted({test for mutant in MUTANTS.values() for test in mutant["caught_by"]})
    outcome = outcome_of(copy, tests)
    assert outcome.returncode == 0, outcome.stdout[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(copy: Path, name: str) -> None:
    mutant = MUTANTS[name]
    apply(mutant, copy)
    outcome = outcome_of(copy, mutant["caught_by"])
    assert outcome.returncode == 1, outcome.stdout[-4000:] + outcome.stderr[-2000:]
    for test in mutant["caught_by"]:
        assert f"FAILED tests/privacy/{test}" in outcome.stdout, outcome.stdout[-4000:]
