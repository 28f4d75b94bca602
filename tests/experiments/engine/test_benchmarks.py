"""The benchmarks run, and print what they print and nothing beside it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def answer(*words: str) -> object:
    """What a benchmark prints as JSON; warnings are errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-m", *words], cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_engines_benchmark_runs_without_warnings() -> None:
    lines = answer("experiments.engine", "--quick", "--json", "--turns", "1", "--only", "W1a")
    assert isinstance(lines, list)
    assert {line["contender"] for line in lines} >= {"engine, 2 workers", "loop, 2 processes", "DP Opacus ghost"}


@pytest.mark.slow
def test_the_comparison_counts_rounds_and_wholes() -> None:
    programs = [word for name in ("fedchain, 2 workers", "bare loop, 1 process") for word in ("--program", name)]
    options = ["--quick", "--json", "--turns", "1", "--rounds", "3", "--only", "W1a", "--no-recorded"]
    document = answer("experiments.engine.peers", *options, *programs)
    assert isinstance(document, dict)
    for starts in document["starts"]["W1a"].values():
        (start,) = starts
        assert len(start["rounds"]) == 2
        assert start["whole"] > sum(start["rounds"]) > 0
    assert {goal["verdict"] for goal in document["goals"]} == {"not measured"}


@pytest.mark.slow
def test_what_recording_cannot_cost_less_than_is_more_than_hashing_and_writing_its_bytes() -> None:
    lines = answer("experiments.engine.floor", "--json", "W2")
    assert isinstance(lines, list)
    assert [line["name"] for line in lines] == ["W2", "W2, one population"]
    assert all(line["floor"] > line["bound"] > 0 for line in lines)
