"""A hundred thousand schedules of crashes and other faults around the real round machine: every invariant holds.

The fuzz is worth something: each seeded fault of the code, applied to a copy, makes a schedule fail. A mutant is a file
in `mutants/`: what to replace in which sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.schedules import FATE, World, play, stage

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = {path.stem: tomllib.loads(path.read_text()) for path in sorted(Path(__file__).parent.glob("mutants/*.toml"))}
REQUIRED = {
    "send_before_journal", "no_fsync", "missing_one_seal_guard", "non_idempotent_receipt", "debit_after_release",
    "stale_lease", "trusting_a_cid",
}  # fmt: skip
NEEDED = ("fedchain", "tests/doubles", "tests/scenarios")
QUICK, SCHEDULES, SHARES = 1_000, 100_000, 10
PLAYED = 2_000
"""Schedules within which each mutant must be caught."""


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, ...]]:
    """Federations with all that a first crash can leave behind."""
    with stage(tmp_path_factory.mktemp("disk")) as founded:
        yield founded


def test_a_thousand_schedules_with_every_way_for_a_machine_to_end(worlds: tuple[World, ...]) -> None:
    FATE.endings.clear()
    for seed in range(QUICK):
        play(worlds, seed)
    assert set(FATE.endings) == {
        "finished", "PowerCutError", "PolicyError", "UnreachableError", "IntegrityError", "RejectedTransactionError",
    }  # fmt: skip
    assert min(FATE.endings.values()) >= QUICK // 200, FATE.endings


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_a_hundred_thousand_schedules(share: int, worlds: tuple[World, ...]) -> None:
    for seed in range(QUICK + share * SCHEDULES // SHARES, QUICK + (share + 1) * SCHEDULES // SHARES):
        play(worlds, seed)


def test_a_seed_plays_the_same_schedule_whatever_was_played_before(worlds: tuple[World, ...]) -> None:
    ends: dict[int, list[object]] = {seed: [] for seed in range(20)}
    for seed in (*ends, *reversed(ends)):
        new = play(worlds, seed).new
        ends[seed].append((list(new.record.events), list(new.journal.written), dict(new.store.artifacts)))
    assert [first == second for first, second in ends.values()] == [True] * len(ends)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package with the fuzz."""
    for folder in NEEDED:
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def applied(mutant: dict[str, Any], copy: Path) -> None:
    for edit in mutant["edits"]:
        source = copy / edit["file"]
        text = source.read_text()
        assert text.count(edit["old"]) == 1, f"{mutant['why']}: the source has moved on, bring the mutant up to date"
        source.write_text(text.replace(edit["old"], edit["new"]))


def outcome_in(copy: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.scenarios.schedules", "0", str(PLAYED)],
        cwd=copy, env={**os.environ, "PYTHONPATH": str(copy)}, capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip


def test_every_fault_that_the_threat_model_names_has_a_mutant_that_still_applies(copy: Path) -> None:
    assert set(MUTANTS) == REQUIRED
    for mutant in MUTANTS.values():
        applied(mutant, copy)


@pytest.mark.slow
def test_the_unchanged_copy_passes_what_catches_the_mutants(copy: Path) -> None:
    outcome = outcome_in(copy)
    assert outcome.returncode == 0, outcome.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(copy: Path, name: str) -> None:
    applied(MUTANTS[name], copy)
    outcome = outcome_in(copy)
    assert outcome.returncode == 1, f"{name} lives: {outcome.stderr[-4000:]}"
    assert "fails: python -m tests.scenarios.schedules" in outcome.stderr, outcome.stderr[-4000:]
