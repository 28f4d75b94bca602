"""The metrics of a run survive what a crash leaves of their file; what is lost is known to be lost."""

from __future__ import annotations

import math
from pathlib import Path

from fedchain.adapters.round_metrics import Metrics, RoundMetrics

MODELS = {1: "bafk1", 2: "bafk2", 3: "bafk3"}


def of(value: float) -> Metrics:
    return {"north": {"auroc": value / 2}, "overall": {"auroc": value, "rows": 8.0}}


def written(path: Path) -> None:
    metrics = RoundMetrics(path)
    for round_, cid in MODELS.items():
        metrics.add(round_, cid, of(round_ / 4), {"north": round_})


def test_what_was_added_is_read_back(tmp_path: Path) -> None:
    written(tmp_path / "metrics.jsonl")
    found = RoundMetrics.read(tmp_path / "metrics.jsonl", MODELS)
    assert found.by_round == {n: of(n / 4) for n in MODELS}
    assert found.spent == {1: {"north": 1}, 2: {"north": 2}, 3: {"north": 3}}
    assert RoundMetrics.read(found.path) == found
    assert found.values("auroc") == {1: 0.25, 2: 0.5, 3: 0.75}
    assert found.values("rmse") == {}


def test_a_torn_line_is_lost_and_what_follows_is_not(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    written(path)
    for size in range(len(path.read_bytes())):
        torn = tmp_path / "torn.jsonl"
        torn.write_bytes(path.read_bytes()[:size])
        found = RoundMetrics.read(torn, MODELS)
        assert found.by_round == {n: of(n / 4) for n in found.by_round}
        found.add(3, "bafk3", of(0.75), {"north": 3})
        assert RoundMetrics.read(torn, MODELS).by_round[3] == of(0.75)


def test_a_line_of_another_model_counts_as_lost(tmp_path: Path) -> None:
    written(tmp_path / "metrics.jsonl")
    assert set(RoundMetrics.read(tmp_path / "metrics.jsonl", {**MODELS, 2: "bafkother"}).by_round) == {1, 3}


def test_what_is_no_finite_number_is_left_out(tmp_path: Path) -> None:
    metrics = RoundMetrics(tmp_path / "metrics.jsonl")
    metrics.add(1, "bafk1", {"overall": {"auroc": math.nan, "rmse": 2.0}}, {})
    assert metrics.by_round == RoundMetrics.read(metrics.path, MODELS).by_round == {1: {"overall": {"rmse": 2.0}}}
