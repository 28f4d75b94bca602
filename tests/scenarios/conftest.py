"""Homes that real experiments left behind, made once a session; a test that alters one takes a copy."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.config import ModelConfig
from tests.scenarios.forge import History, read_history
from tests.scenarios.genuine import SMALL, Genuine, run_quietly, withdraw_consent


@pytest.fixture(scope="session")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """Two runs without privacy; between them one hospital withdraws its consent, so the second run refuses it."""
    home = tmp_path_factory.mktemp("genuine") / "home"
    first = run_quietly(replace(SMALL, rounds=3), home)
    withdraw_consent(home, "va")
    second = run_quietly(replace(SMALL, seed=2), home)
    return Genuine(home, (first, second))


@pytest.fixture(scope="session")
def private(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """One run with privacy."""
    home = tmp_path_factory.mktemp("private") / "home"
    return Genuine(home, (run_quietly(replace(SMALL, privacy=replace(SMALL.privacy, mode="dp")), home),))


@pytest.fixture(scope="session")
def short(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """One run of a single round, with as few bytes as there can be."""
    home = tmp_path_factory.mktemp("short") / "home"
    return Genuine(home, (run_quietly(replace(SMALL, rounds=1), home),))


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """One run of a single round over a model of 1.2 MB, whose artifacts need sidecars in the store."""
    home = tmp_path_factory.mktemp("large") / "home"
    config = replace(SMALL, rounds=1, model=ModelConfig("mlp", 20_000))
    return Genuine(home, (run_quietly(config, home),))


@pytest.fixture(scope="session")
def history(genuine: Genuine) -> History:
    """What the two runs left on the ledger and in the store."""
    return read_history(genuine.home)


@pytest.fixture
def copied(genuine: Genuine, tmp_path: Path) -> Genuine:
    """A copy of the two runs for one test."""
    home = tmp_path / "copy"
    shutil.copytree(genuine.home, home)
    return replace(genuine, home=home)
