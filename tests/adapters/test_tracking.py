"""The tracking process is a real one, and what it logged is read from MLflow's own database."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from fedchain.adapters.model_files import Checkpoint, write_model
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.adapters.tracking import from_line, to_line, tracked, tracking_uri
from fedchain.core.errors import FormatError
from fedchain.core.messages import UNBOUNDED
from fedchain.ports.watcher import (
    Evaluated,
    Event,
    ModelKept,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    RunStarted,
    UpdateAdmitted,
)

RUN = "ab12" * 16
CONFIG = json.dumps({"experiment": "heart", "rounds": 3, "privacy": {"epsilon": "8.0"}})
STARTED = RunStarted(RUN, "fe" * 32, "heart", 3, 1, is_resumed=False, clients=("a", "b"), config=CONFIG)
EVENTS: list[Event] = [
    STARTED,
    RoundOpened(1, 1),
    UpdateAdmitted(1, "a", 1_500_000, 2_500_000),
    ReplyRejected(1, "b", "norm above the bound"),
    RoundEnded(1, "bafy", "0x12", ""),
    RoundSealed(1, "0xaa", "0xbb"),
    ReceiptSigned(1, "a"),
    Evaluated(1, {"a": {"auroc": 0.5}, "overall": {"auroc": 0.25}}),
    ModelKept(RUN, "heart", 1, "bafy", "12", "aa", "1:0x02", "auroc", "runs/ab12"),
    RunEnded(RUN),
]


def round_of(number: int) -> list[Event]:
    return [
        RoundOpened(number, 1),
        UpdateAdmitted(number, "a", 1_500_000 * number, 2_500_000 * number),
        UpdateAdmitted(number, "hostile\n=é$", UNBOUNDED, UNBOUNDED),
        RoundEnded(number, f"bafy{number}", f"0x{number}", ""),
        RoundSealed(number, f"0xhash{number}", f"0xtransaction{number}"),
        Evaluated(number, {"a": {"auroc": 0.5 + number / 100}, "overall": {"auroc": 0.25}}),
    ]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_survives_the_pipe(event: Event) -> None:
    job, returned = from_line(to_line(event, "7"))
    assert job == "7"
    assert type(returned) is type(event)
    assert to_line(returned, job) == to_line(event, job)


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b'["Nobody", {}]', b'["RunEnded", {"walk": 1}]', b"[1, 2]", b"\xff"]
)
def test_a_line_that_is_no_event_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        from_line(line)


def test_the_database_is_in_the_home_unless_the_user_has_a_server(tmp_path: Path) -> None:
    assert tracking_uri(tmp_path, {}) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    assert tracking_uri(tmp_path, {"MLFLOW_TRACKING_URI": ""}) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    assert tracking_uri(tmp_path, {"MLFLOW_TRACKING_URI": "http://x"}) == "http://x"


@pytest.mark.slow
def test_a_run_and_its_resumption_are_one_mlflow_run(tmp_path: Path) -> None:
    folder, warnings = tmp_path / "mlflow", list[str]()
    uri = tracking_uri(folder, {})
    with tracked(folder, uri, warnings.append) as watch:  # a run that is interrupted after its first round
        before = time.monotonic()
        for event in [STARTED, *round_of(1)]:
            watch(event)
        assert time.monotonic() - before < 1, "a run must not wait for MLflow"
    with sqlite3.connect(folder / "mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("KILLED",)]
    database.close()
    with tracked(folder, uri, warnings.append) as watch:
        for event in [STARTED, *round_of(2), ReplyRejected(3, "b", "late"), *round_of(3), RunEnded(RUN)]:
            watch(event)
    assert warnings == []

    database = sqlite3.connect(folder / "mlflow.db")
    assert database.execute("select status, name from runs").fetchall() == [("FINISHED", "heart ab12ab12")]
    assert database.execute("select name from experiments where name != 'Default'").fetchall() == [("heart",)]
    (location,) = database.execute("select artifact_location from experiments where name = 'heart'").fetchone()
    assert location == (folder.resolve() / "artifacts").as_uri()
    assert dict(database.execute("select key, value from params")) == {
        "experiment": "heart",
        "rounds": "3",
        "privacy.epsilon": "8.0",
    }
    metrics = {(key, step): value for key, step, value in database.execute("select key, step, value from metrics")}
    assert metrics == {
        (key, number): value
        for number in (1, 2, 3)
        for key, value in {
            "epsilon/a": 1.5 * number,
            "epsilon_total/a": 2.5 * number,
            "auroc/a": 0.5 + number / 100,
            "auroc/overall": 0.25,
            "aborted": 0.0,
        }.items()
    }
    tags = dict(database.execute("select key, value from tags"))
    database.close()
    assert {key: value for key, value in tags.items() if key.startswith("fedchain.")} == {
        "fedchain.run": RUN,
        "fedchain.federation": "fe" * 32,
        "fedchain.config": CONFIG,
        "fedchain.model_cid": "bafy3",
        "fedchain.model_digest": "0x3",
        "fedchain.round_hash": "0xhash3",
        "fedchain.seal_transaction": "0xtransaction3",
        "fedchain.rounds_sealed": "3",
        "fedchain.privacy": "no differential privacy",
        "fedchain.rejected.round_3": "b: late",
    }


def test_a_tracking_server_that_cannot_be_used_costs_one_warning_and_not_the_run(tmp_path: Path) -> None:
    folder, warnings = tmp_path / "mlflow", list[str]()
    with tracked(folder, "nonsense://", warnings.append) as watch:
        deadline = time.monotonic() + 60
        while not warnings and time.monotonic() < deadline:  # until the process has died
            watch(STARTED)
        watch(STARTED)
    assert warnings == [f"MLflow tracking failed, the run is not affected: see {folder}/tracking.log"]
    assert "nonsense" in (folder / "tracking.log").read_text()
    assert sorted(each.name for each in folder.iterdir()) == ["tracking.lock", "tracking.log"]


def kept(folder: Path) -> ModelKept:
    """What a run of one round left behind."""
    run = folder / "runs" / RUN
    (run / "checkpoints").mkdir(parents=True)
    write_model(run / "checkpoints" / "last.safetensors", {"w": np.zeros(1)}, Checkpoint(f"0x{RUN}", 1, "bafy1", "0x1"))
    RoundMetrics(run / "metrics.jsonl").add(1, "bafy1", {"overall": {"auroc": 0.75}}, {"a": 1_500_000, "b": UNBOUNDED})
    return ModelKept(RUN, "heart", 1, "bafy1", "12", "aa", "1337:0x02", "auroc", str(run))


@pytest.mark.slow
def test_an_ended_runs_pictures_files_and_model_are_in_mlflow_once(tmp_path: Path) -> None:
    folder, warnings = tmp_path / "mlflow", list[str]()
    event = kept(tmp_path)
    for _ in range(2):  # a command that was killed at its very end is repeated
        with tracked(folder, tracking_uri(folder, {}), warnings.append) as watch:
            for each in [STARTED, *round_of(1), RunEnded(RUN), event]:
                watch(each)
    assert warnings == []
    files = {str(each.relative_to(folder / "artifacts")).split("/", 2)[2] for each in folder.rglob("artifacts/*/*/*/*")}
    assert files == {"model/last.safetensors", "plots/metrics.svg", "plots/privacy.svg"}
    database = sqlite3.connect(folder / "mlflow.db")
    ((run,),) = database.execute("select run_uuid from runs")
    versions = database.execute("select name, version, source from model_versions").fetchall()
    tags = dict(database.execute("select key, value from model_version_tags"))
    database.close()
    assert versions == [("heart", 1, f"runs:/{run}/model")]
    assert tags == {
        "fedchain.run": RUN,
        "fedchain.round": "1",
        "fedchain.model_cid": "bafy1",
        "fedchain.model_digest": "12",
        "fedchain.round_hash": "aa",
        "fedchain.chain": "1337:0x02",
        "fedchain.epsilon.a": "1.5",
        "fedchain.epsilon.b": "unbounded",
    }


@pytest.mark.slow
def test_a_registry_that_is_not_there_costs_one_line_and_neither_metrics_nor_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "nonsense://")
    folder, warnings = tmp_path / "mlflow", list[str]()
    with tracked(folder, tracking_uri(folder, {}), warnings.append) as watch:
        for each in [STARTED, *round_of(1), RunEnded(RUN), kept(tmp_path)]:
            watch(each)
    log = folder / "tracking.log"
    assert warnings == [f"MLflow did not take the run's files or its model, the run is not affected: see {log}"]
    assert "nonsense" in log.read_text()
    database = sqlite3.connect(folder / "mlflow.db")
    assert database.execute("select status from runs").fetchall() == [("FINISHED",)]
    assert database.execute("select count(*) from metrics where key = 'auroc/overall'").fetchone() == (1,)
    database.close()
