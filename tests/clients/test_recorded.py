"""The mod by itself: what it answers, what it lets through to the app, and what it refuses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from clients.recorded import AppTrainer, RecordedMod
from fedchain import sandbox
from fedchain.adapters.local_grid import LocalGrid
from fedchain.adapters.targets import load
from fedchain.core import document
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.policy import DataPolicy
from fedchain.core.privacy import Release
from fedchain.core.task import LocalTraining
from fedchain.ports.training import LocalRound
from fedchain.wiring.apps import Declaration

POLICY = sandbox("tiny", source="made up for this test")
CONTEXT = Context(1, 1, {"partition-id": 0}, RecordDict(), {})
BASE = {"w": np.array([1.5, -2.0])}
TRAINING = LocalTraining("flower", {}, 1, 2**31 - 1, "1.0", "off", 10_000_000, "2.0", 1, 0, updates=1)
LOCAL = LocalRound(TRAINING, Release(0, 1, 1), 1, 4)


@pytest.fixture(autouse=True)
def grid() -> LocalGrid:
    """Messages know their run from the grid."""
    return LocalGrid(ClientApp(), 1)


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Any]:
    """The app's function in a file of the app."""
    (tmp_path / "mod_app.py").write_text(
        "def rows(node):\n    return [1.0, 2.0, 3.0, 4.0][: node['partition-id'] + 4]\n"
    )
    load("mod_app:rows", tmp_path)
    yield importlib.import_module("mod_app").rows
    sys.modules.pop("mod_app")
    sys.path.remove(str(tmp_path))


def mod_of(rows: Any, tmp_path: Path, policy: DataPolicy | Path = POLICY) -> RecordedMod:
    return RecordedMod(rows, policy, tmp_path / "home")


def never(message: Message, context: Context) -> Message:
    raise AssertionError("the app was called")


def echo(message: Message, context: Context) -> Message:
    return Message(RecordDict({"metrics": MetricRecord({"seen": 1})}), reply_to=message)


def asked(**words: str | bytes) -> Message:
    return Message(RecordDict({"fedchain": ConfigRecord(dict(words))}), 1, "train")


def told(reply: Message) -> dict[str, object]:
    return dict(reply.content.config_records["fedchain"])


def test_a_node_says_who_it_is_without_a_home(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path)(asked(kind="declare"), CONTEXT, never)
    data = told(reply)["document"]
    assert isinstance(data, bytes)
    declaration = document.from_bytes(Declaration, data)
    assert (declaration.name, declaration.card.nominal_size) == ("client1", 4)
    assert (declaration.policy.dataset_name, declaration.target) == ("tiny: client1", "mod_app:rows")
    assert list(declaration.sources) == ["mod_app.py"]
    assert not (tmp_path / "home").exists()


def test_an_evaluation_is_the_apps_own(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path)(Message(RecordDict(), 1, "evaluate"), CONTEXT, echo)
    assert reply.content.metric_records["metrics"]["seen"] == 1


def test_no_metric_leaves_where_nothing_may_leave_unprotected(rows: Any, tmp_path: Path) -> None:
    mod = mod_of(rows, tmp_path, replace(POLICY, allows_unprotected=False))
    reply = mod(Message(RecordDict(), 1, "evaluate"), CONTEXT, never)
    assert reply.has_error()
    assert str(reply.error.reason).startswith("the policy of tiny demands differential privacy")


def test_a_plain_round_is_refused(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path)(Message(RecordDict(), 1, "train"), CONTEXT, never)
    assert str(reply.error.reason).startswith("this client trains in recorded rounds only")


def test_another_question_of_the_app_passes(rows: Any, tmp_path: Path) -> None:
    assert not mod_of(rows, tmp_path)(Message(RecordDict(), 1, "query.other"), CONTEXT, echo).has_error()


def test_a_node_without_a_partition_is_told_so(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path)(asked(kind="declare"), Context(1, 1, {}, RecordDict(), {}), never)
    assert told(reply) == {
        "error": "node_config of a Flower node: expected a partition-id, got {}", "is_policy": False,
    }  # fmt: skip


def test_a_node_without_a_home_says_so_when_it_is_asked_to_train(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path)(asked(kind="train", document=b"", model=b""), CONTEXT, never)
    assert str(told(reply)["error"]).startswith("no fedchain home here")


def test_an_owner_who_wrote_no_policy_is_a_matter_of_policy(rows: Any, tmp_path: Path) -> None:
    reply = mod_of(rows, tmp_path, tmp_path / "policy.json")(asked(kind="declare"), CONTEXT, never)
    assert told(reply)["is_policy"] is True


# ---------------------------------------------------------------- the app's function as a trainer


def task() -> Message:
    words = ConfigRecord({"kind": "train", "arrays": "arrays", "weighted-by": "rows"})
    words["names"], words["dtypes"] = ["w"], ["float32"]
    return Message(RecordDict({"fedchain": words, "config": ConfigRecord({"lr": 0.5})}), 1, "train")


def answer(arrays: dict[str, Array], metrics: dict[str, float]) -> Any:
    def app(message: Message, context: Context) -> Message:
        given = RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord(dict(metrics))})
        return Message(given, reply_to=message)

    return app


def test_the_app_gets_the_base_and_what_the_strategy_said_and_nothing_of_fedchain() -> None:
    seen: list[Message] = []

    def app(message: Message, context: Context) -> Message:
        seen.append(message)
        trained = ArrayRecord({"w": Array(message.content.array_records["arrays"]["w"].numpy() * 2)})
        content = RecordDict({"arrays": trained, "metrics": MetricRecord({"rows": 4, "loss": 0.5})})
        return Message(content, reply_to=message)

    original = task()
    trainer = AppTrainer(original, CONTEXT, app)
    update = trainer.train(BASE, LOCAL)
    assert {name: each.tolist() for name, each in update.items()} == {"w": [1.5, -2.0]}
    assert sorted(seen[0].content) == ["arrays", "config"]
    assert seen[0].content.array_records["arrays"]["w"].dtype == "float32"
    assert sorted(original.content) == ["config", "fedchain"]
    assert dict(trainer.metrics[0]) == {"rows": 4, "loss": 0.5}


def test_an_update_that_was_to_be_protected_is_refused() -> None:
    protected = replace(LOCAL, release=Release(1_000_000, 1, 1))
    with pytest.raises(PolicyError, match="an app's own training"):
        AppTrainer(task(), CONTEXT, never).train(BASE, protected)


W = Array(np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("arrays", "metrics", "message"),
    [
        ({"w": W}, {"rows": 5.0}, "rows of the app's train function: expected the 4 rows that are registered, got 5"),
        (
            {"w": W},
            {"loss": 5.0},
            "rows of the app's train function: expected the 4 rows that are registered, got none",
        ),
        ({"w": W, "v": W}, {"rows": 4.0}, "arrays of the app's train function"),
        ({"w": Array(np.zeros(3, np.float32))}, {"rows": 4.0}, r"train function: expected w \(2,\), got w \(3,\)"),
        ({"w": Array(np.zeros(2, np.int64))}, {"rows": 4.0}, "array w of the app: expected floating point"),
        ({}, {"rows": 4.0}, "arrays of a Flower app"),
    ],
    ids=["other rows", "no rows", "one more", "another shape", "integers", "none"],
)
def test_a_reply_that_is_no_model_like_the_base_is_refused(
    arrays: dict[str, Array], metrics: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        AppTrainer(task(), CONTEXT, answer(arrays, metrics)).train(BASE, LOCAL)


def test_what_the_function_raises_is_one_line_with_its_place(tmp_path: Path) -> None:
    def app(message: Message, context: Context) -> Message:
        raise ValueError("two\nlines")

    with pytest.raises(InputError, match=r"the app's train function failed with ValueError: two lines \(test_recorded"):
        AppTrainer(task(), CONTEXT, app).train(BASE, LOCAL)
