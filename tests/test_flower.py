"""A small Flower app, recorded: what it keeps, what the record says, and what is refused in one line."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import (
    Bulyan,
    FedAdagrad,
    FedAdam,
    FedAvg,
    FedAvgM,
    FedMedian,
    FedProx,
    FedTrimmedAvg,
    FedXgbBagging,
    FedYogi,
    Krum,
    MultiKrum,
    QFedAvg,
    Result,
)

from fedchain import flower, sandbox
from fedchain.adapters.arrays import ArrayForm, tensors_of
from fedchain.adapters.home import open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.targets import load
from fedchain.cli.compose import compose
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Verdict
from fedchain.core.manifest import RunManifest
from fedchain.flower import Recorded
from fedchain.wiring.bench import open_bench
from fedchain.wiring.confidential import open_artifacts
from fedchain.workflow.planning import read_plan
from fedchain.workflow.run_state import RunState

APP = """
import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp

from fedchain.flower import recorded, signed

SEEN = []
SPOILT = {}
MORE = {}


def rows(node):
    return [[float(n), n % 2] for n in range(3 + node["partition-id"])]


def client_app(policy, home):
    app = ClientApp(mods=[] if policy is None else [signed(rows, policy, home=home)])

    @app.train()
    def train(message, context):
        arrays, config = message.content["arrays"], message.content["config"]
        place = context.node_config["partition-id"]
        SEEN.append((config["server-round"], place, config.get("proximal-mu")))
        step = np.float32(config["lr"] * (place + 1))
        moved = {name: Array(arrays[name].numpy() * np.float32(0.5) + step) for name in arrays if name != "n"}
        if "n" in arrays:
            moved["n"] = Array(arrays["n"].numpy() + 1)
        metrics = {"train_loss": float(place), "num-examples": len(rows(context.node_config))}
        if SPOILT.get("place") == place:
            SPOILT["spoil"](moved, metrics)
        content = {"arrays": ArrayRecord(moved), "metrics": MetricRecord(metrics)}
        return Message(RecordDict(content), reply_to=message)

    @app.evaluate()
    def evaluate(message, context):
        level = float(message.content["arrays"]["w"].numpy().mean())
        content = {"metrics": MetricRecord({"level": level, "num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    return app


def server_app(strategy, results, options, rounds=2):
    app = ServerApp()

    @app.main()
    def main(grid, context):
        wrapped = strategy if options is None else recorded(strategy, "ledger=log", **options)
        w = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
        arrays = {"w": Array(w), "a": Array(np.zeros(2, np.float32)), **MORE}
        evaluate_fn = lambda number, arrays: MetricRecord({"w": float(arrays["w"].numpy().sum())})
        given = ConfigRecord({"lr": 0.125})
        results.append(wrapped.start(grid, ArrayRecord(arrays), rounds, 60.0, given, None, evaluate_fn))
        results.append(wrapped)

    return app
"""
POLICY = sandbox("tiny", source="made up for this test")
NODES = 3


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[ModuleType]:
    """The app as a file of its own, as apps are."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "tiny_app.py").write_text(APP)
    load("tiny_app:rows", tmp_path / "app")
    yield importlib.import_module("tiny_app")
    sys.modules.pop("tiny_app")
    sys.path.remove(str(tmp_path / "app"))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(
    tiny: ModuleType, strategy: FedAvg, home: Path | None, policy: object = POLICY, **more: object
) -> tuple[Result, Recorded]:
    """Run the app: recorded in a home, or as Flower does it."""
    results: list[object] = []
    options = None if home is None else {"home": home, **more}
    client = tiny.client_app(None if home is None else policy, home)
    flower.simulate(tiny.server_app(strategy, results, options), client, NODES, {"of": "the app"})
    result, wrapped = results
    assert isinstance(result, Result)
    return result, wrapped  # type: ignore[return-value]  # the plain strategy where there is no home


def numbers(arrays: ArrayRecord) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]]:
    return {name: arrays[name].numpy().astype(np.float64) for name in arrays}


def manifest_of(home: Path) -> RunManifest:
    opened = open_home(home)
    (folder,) = opened.runs.iterdir()
    planned = RunState.replay(read_journal(opened.journal(folder.name))).planned
    assert planned is not None
    return read_plan(open_artifacts(opened, "aggregator"), planned.manifest_cid, 1).manifest


@pytest.mark.slow
@pytest.mark.parametrize(
    "strategy",
    [
        FedAvg,
        lambda: FedProx(proximal_mu=0.25),
        lambda: FedAvgM(server_learning_rate=0.5, server_momentum=0.75),
    ],
    ids=["FedAvg", "FedProx", "FedAvgM"],
)
def test_a_recorded_run_gives_flowers_own_result_up_to_the_fixed_point(
    tiny: ModuleType, home: Path, strategy: type[FedAvg]
) -> None:
    plain, _ = run(tiny, strategy(), None)
    result, wrapped = run(tiny, strategy(), home)
    assert list(result.arrays) == list(plain.arrays)
    for name, each in numbers(plain.arrays).items():
        np.testing.assert_allclose(numbers(result.arrays)[name], each, atol=2e-7)
        assert result.arrays[name].dtype == "float32"
    assert set(result.train_metrics_clientapp) == {1, 2}
    assert {n: dict(each) for n, each in result.train_metrics_clientapp.items()} == {
        n: pytest.approx(dict(each)) for n, each in plain.train_metrics_clientapp.items()
    }
    assert set(result.evaluate_metrics_clientapp) == {1, 2}
    assert set(result.evaluate_metrics_serverapp) == {0, 1, 2}
    assert wrapped.lineage is not None
    assert wrapped.lineage.verify().verdict is Verdict.VERIFIED


@pytest.mark.slow
def test_fed_adam_takes_the_published_step(tiny: ModuleType, home: Path) -> None:
    given = FedAdam(eta=0.5, beta_1=0.5, beta_2=0.75, tau=0.125)
    result, _ = run(tiny, given, home)
    x = np.linspace(-1, 1, 6).reshape(2, 3)
    m = v = np.zeros_like(x)
    weights = np.array([3.0, 4.0, 5.0]) / 12
    for _ in range(2):
        trained = sum(w * (x * 0.5 + 0.125 * (n + 1)) for n, w in enumerate(weights))
        d = trained - x
        m, v = 0.5 * m + 0.5 * d, 0.75 * v + 0.25 * d * d
        x = x + 0.5 * m / (np.sqrt(v) + 0.125)
    np.testing.assert_allclose(numbers(result.arrays)["w"], x, atol=1e-5)
    optimiser = manifest_of(home).optimiser
    assert optimiser is not None
    assert (optimiser.rule, optimiser.learning_rate, optimiser.tau) == ("adam", "0.5", "0.125")


@pytest.mark.slow
def test_the_record_says_what_clients_were_told_and_that_nothing_is_private(tiny: ModuleType, home: Path) -> None:
    run(tiny, FedProx(proximal_mu=0.25, fraction_train=0.7), home)
    manifest = manifest_of(home)
    training = manifest.training
    assert (training.model, training.epsilon, training.proximal) == ("flower", "off", "0.25")
    assert training.model_options["target"] == "tiny_app:main"
    assert training.model_options["options.train-config.lr"] == "0.125"
    assert training.model_options["options.strategy.fraction_train"] == "0.7"
    assert (manifest.experiment, manifest.strategy, len(manifest.cohort)) == ("tiny_app", "fedprox", NODES)
    assert all(told == 0.25 for _, _, told in tiny.SEEN)
    assert {member.nominal_size for member in manifest.cohort} == {3, 4, 5}


@pytest.mark.slow
def test_the_strategys_own_sampling_is_kept(tiny: ModuleType, home: Path) -> None:
    run(tiny, FedAvg(fraction_train=0.7, min_train_nodes=2), home)
    assert [len({place for number, place, _ in tiny.SEEN if number == each}) for each in (1, 2)] == [2, 2]


@pytest.mark.slow
def test_the_apps_file_is_in_the_digest_of_the_code(tiny: ModuleType, home: Path, tmp_path: Path) -> None:
    run(tiny, FedAvg(), home)
    before = manifest_of(home).code_digest
    path = tmp_path / "app" / "tiny_app.py"
    path.write_text(path.read_text() + "\n# another line\n")
    run(tiny, FedAvg(), tmp_path / "other")
    assert manifest_of(tmp_path / "other").code_digest != before


@pytest.mark.slow
def test_a_run_that_was_interrupted_goes_on(tiny: ModuleType, home: Path) -> None:
    class Stopped(FedAvg):
        def configure_train(self, server_round: int, *rest: object) -> object:  # type: ignore[override]
            if server_round == 2:
                raise KeyboardInterrupt
            return super().configure_train(server_round, *rest)  # type: ignore[arg-type]

    Stopped.__module__ = "flwr.stopped"  # its file is no part of the app
    with pytest.raises(KeyboardInterrupt):
        run(tiny, Stopped(), home)
    tiny.SEEN.clear()
    result, wrapped = run(tiny, FedAvg(), home)
    assert {number for number, _, _ in tiny.SEEN} == {2}
    assert set(result.train_metrics_clientapp) == {2}
    assert wrapped.lineage is not None
    assert wrapped.lineage.verify().verdict is Verdict.VERIFIED
    assert len(list(open_home(home).runs.iterdir())) == 1


@pytest.mark.parametrize(
    "strategy",
    [Bulyan, FedAdagrad, FedMedian, FedTrimmedAvg, FedXgbBagging, FedYogi, Krum, MultiKrum, QFedAvg],
    ids=lambda each: str(each.__name__),
)
def test_an_aggregation_that_cannot_be_re_derived_is_refused(strategy: type[FedAvg]) -> None:
    made = strategy(0.1) if strategy is QFedAvg else strategy()
    with pytest.raises(InputError, match=f"the aggregation of {strategy.__name__} cannot be recorded"):
        flower.recorded(made)


def test_a_subclass_may_change_what_is_kept_and_nothing_else() -> None:
    class Sampling(FedAvg):
        def summary(self) -> None: ...

    class Averaging(FedAvg):
        def aggregate_train(self, *_: object) -> tuple[None, None]:
            return None, None

    class Starting(FedAvg):
        def start(self, *_: object) -> Result:
            return Result()

    Sampling.__module__ = "flwr.sampling"
    assert flower.recorded(Sampling()).strategy.fraction_train == 1.0
    with pytest.raises(InputError, match="the aggregation of Averaging cannot be recorded"):
        flower.recorded(Averaging())
    with pytest.raises(InputError, match="Starting has a start of its own"):
        flower.recorded(Starting())
    with pytest.raises(InputError, match="fraction_train"):
        flower.recorded(FedAvg(fraction_train=0.0))


def test_a_policy_that_demands_privacy_stops_it_before_any_training(tiny: ModuleType, home: Path) -> None:
    strict = replace(POLICY, allows_unprotected=False)
    with pytest.raises(PolicyError, match="node 1: the policy of tiny demands differential privacy"):
        run(tiny, FedAvg(), home, strict)
    assert (tiny.SEEN, home.exists()) == ([], False)


def test_data_without_a_policy_are_not_trained_on(tiny: ModuleType, home: Path, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="node 1: the data have no policy"):
        run(tiny, FedAvg(), home, tmp_path / "policy.json")
    assert tiny.SEEN == []


def test_a_client_with_the_mod_trains_in_recorded_rounds_only(tiny: ModuleType, home: Path) -> None:
    results: list[object] = []
    flower.simulate(tiny.server_app(FedAvg(), results, None), tiny.client_app(POLICY, home), NODES, {})
    plain = results[0]
    assert isinstance(plain, Result)
    assert (plain.train_metrics_clientapp, tiny.SEEN) == ({}, [])


def test_an_app_without_the_mod_is_told_so(tiny: ModuleType, home: Path) -> None:
    with pytest.raises(
        InputError, match=r"a ClientApp without fedchain's mod failed with KeyError: 'arrays' \(tiny_app.py"
    ):
        run(tiny, FedAvg(), home, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (
            lambda _, metrics: metrics.update({"num-examples": 99}),
            "expected the 3 rows that are registered, got 99",
        ),
        (lambda moved, _: moved.pop("a"), "arrays of the app's train function: expected"),
        (lambda *_: 1 / 0, "the app's train function failed with ZeroDivisionError"),
    ],
    ids=["rows", "arrays", "failure"],
)
def test_what_a_train_function_does_wrong_is_said_in_one_line(
    tiny: ModuleType, home: Path, spoil: object, told: str
) -> None:
    tiny.SPOILT.update(place=0, spoil=spoil)
    with pytest.raises(PolicyError, match=r"round 1 was aborted") as caught:
        run(tiny, FedAvg(min_train_nodes=3, min_available_nodes=3), home)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_one_of_three_may_fail_where_two_are_enough(tiny: ModuleType, home: Path) -> None:
    tiny.SPOILT.update(place=0, spoil=lambda *_: 1 / 0)
    result, wrapped = run(tiny, FedAvg(), home)
    assert dict(result.train_metrics_clientapp[1]) == {"train_loss": pytest.approx((4 * 1 + 5 * 2) / 9)}
    assert wrapped.lineage is not None
    assert wrapped.lineage.verify().verdict is Verdict.VERIFIED


def test_a_counter_among_the_arrays_is_refused_with_advice() -> None:
    with pytest.raises(InputError, match=r"array n of the app: expected floating point, got int64.*GroupNorm"):
        tensors_of(ArrayRecord({"n": Array(np.zeros((), np.int64))}))
    with pytest.raises(InputError, match="at least one, got none"):
        tensors_of(ArrayRecord())
    with pytest.raises(InputError, match="frozen arrays: expected names among n, got m"):
        ArrayForm.of(ArrayRecord({"n": Array(np.zeros((), np.int64))}), ["m"])


@pytest.mark.parametrize("override", ["privacy=dp", "encryption=off"])
def test_overrides_cannot_promise_what_an_app_does_not_do(tiny: ModuleType, home: Path, override: str) -> None:
    results: list[object] = []
    client = tiny.client_app(POLICY, home)

    def wrapped(strategy: FedAvg) -> Recorded:
        made = flower.recorded(strategy, "ledger=log", override, home=home)
        return replace(made, sources={})

    app = tiny.server_app(wrapped(FedAvg()), results, None)
    with pytest.raises(InputError, match="overrides of a recorded Flower app"):
        flower.simulate(app, client, NODES, {})


@pytest.mark.slow
def test_a_frozen_counter_keeps_its_first_value_and_is_no_part_of_the_model(tiny: ModuleType, home: Path) -> None:
    tiny.MORE["n"] = Array(np.array(7, np.int64))
    with pytest.raises(InputError, match=r"array n of the app.*frozen=\('n',\)"):
        run(tiny, FedAvg(), home)
    result, _ = run(tiny, FedAvg(), home, frozen=("n",))
    assert result.arrays["n"].numpy() == 7
    assert [each.name for each in manifest_of(home).tensors] == ["a", "w"]
    assert manifest_of(home).training.model_options["frozen"] == "n"
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        names = {name for (name,) in database.execute("select distinct key from metrics")}
    assert any("train_loss" in name for name in names), names
    assert any("level" in name for name in names), names


def test_a_configuration_cannot_name_an_app(tmp_path: Path) -> None:
    config = compose(["model.name=flower", "model.target='tiny_app:main'", "privacy=off"])
    with pytest.raises(InputError, match=r"model\.name flower is an app's own model.*docs/from-flower\.md"):
        open_bench(config, tmp_path)
