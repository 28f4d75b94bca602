"""Without privacy one seed gives one model, whatever the order of replies and the number of threads; with it, never."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import Home
from fedchain.config import ExperimentConfig, PrivacyConfig, SimulationConfig
from fedchain.core.cid import Cid
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.runs import runs
from tests.scenarios.genuine import SMALL, run_quietly

PRIVATE = replace(SMALL, rounds=1, privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0))


def model_of(config: ExperimentConfig, home: Path) -> bytes:
    run = run_quietly(config, home).hex()
    cid = next(row.model_cid for row in runs(home) if row.run == run)
    return open_artifacts(Home(home)).get(Cid.parse(cid))


def threads(count: int) -> ExperimentConfig:
    return replace(SMALL, strategy=replace(SMALL.strategy, aggregation_threads=count))


def shuffled(seed: int) -> ExperimentConfig:
    return replace(SMALL, simulation=SimulationConfig(seed))


def test_without_privacy_neither_order_nor_threads_nor_a_second_run_change_a_bit(tmp_path: Path) -> None:
    variants = [SMALL, SMALL, shuffled(3), shuffled(4), threads(1), threads(2)]
    homes = [tmp_path / "one", tmp_path / "one", *(tmp_path / "other" for _ in variants[2:])]
    assert len({model_of(config, home) for config, home in zip(variants, homes, strict=True)}) == 1


@pytest.mark.slow
def test_another_seed_gives_another_model(tmp_path: Path) -> None:
    assert model_of(SMALL, tmp_path / "home") != model_of(replace(SMALL, seed=2), tmp_path / "home")


@pytest.mark.slow
def test_with_privacy_one_seed_gives_two_models(tmp_path: Path) -> None:
    assert model_of(PRIVATE, tmp_path / "home") != model_of(PRIVATE, tmp_path / "home")
