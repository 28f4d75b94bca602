"""The engine gives a simulation what the sites' own trainers give, and refuses what they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
from fedchain.adapters.training.modules import Makers
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import Engine, LocalRound

LOGISTIC = LocalTraining("logistic", {"inputs": "13"}, 2, 32, "0.5", "off", 10_000_000, "1.0", 5, 1)
MLP = replace(LOGISTIC, model="mlp", model_options={"inputs": "13", "hidden": "8,4"})
BOTH = pytest.mark.parametrize("training", [LOGISTIC, MLP], ids=["logistic", "mlp"])
SITES: Mapping[str, Partition] = {each.name: each for each in load_heart()}


def rounds_of(training: LocalTraining, noise_e6: int = 0) -> dict[str, LocalRound]:
    rounds = {}
    for name, site in SITES.items():
        batches = batches_per_epoch(site.card.nominal_size, training.batch_size)
        release = Release(noise_e6, batches, training.steps(batches))
        rounds[name] = LocalRound(training, release, 3, site.card.nominal_size)
    return rounds


def base_of(training: LocalTraining) -> FloatTensors:
    return initial(training.model, training.model_options, training.seed)


@BOTH
def test_every_client_gets_its_trainers_update(training: LocalTraining) -> None:
    engine: Engine = CohortEngine(SITES)
    updates = engine.train(base_of(training), rounds_of(training))
    assert list(updates) == list(SITES)
    for name, local in rounds_of(training).items():
        expected = TorchTrainer(SITES[name]).train(base_of(training), local)
        assert updates[name].keys() == expected.keys()
        for tensor, array in expected.items():
            assert updates[name][tensor].dtype == np.float64
            np.testing.assert_allclose(updates[name][tensor], array, rtol=1e-10, atol=1e-13)


OWN = {"inputs": "13", "target": "tests.mine:Net"}
VARIANTS: Mapping[str, LocalTraining] = {
    "updates": replace(MLP, updates=7, batch_size=100),
    "updates within an epoch": replace(MLP, updates=1),
    "proximal": replace(MLP, proximal="0.3", epochs=3),
    "proximal updates": replace(MLP, proximal="0.3", updates=9),
    "own stack": replace(LOGISTIC, model="custom", model_options=OWN | {"options.kind": "stack"}, proximal="0.3"),
    "own vmapped": replace(LOGISTIC, model="custom", model_options=OWN | {"options.kind": "tanh"}, proximal="0.3"),
    "own loop": replace(LOGISTIC, model="custom", model_options=OWN | {"options.kind": "dropout"}, proximal="0.3"),
    "own unused": replace(LOGISTIC, model="custom", model_options=OWN | {"options.kind": "unused"}, updates=7),
}


class Unused(nn.Module):
    """A module with a forward function of its own, and a layer that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(13, 1), nn.Linear(2, 2)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.used(rows)
        return outputs


def net(kind: str, outputs: int = 1) -> nn.Module:
    last = nn.Linear(6, outputs)
    match kind:
        case "stack":
            return nn.Sequential(nn.Linear(13, 6), nn.ReLU(), last)
        case "tanh":
            return nn.Sequential(nn.Linear(13, 6), nn.Tanh(), last)
        case "dropout":
            return nn.Sequential(nn.Linear(13, 6), nn.Dropout(0.5), last)
        case "frozen":
            last.requires_grad_(requires_grad=False)
            return nn.Sequential(nn.Linear(13, 6), last)
        case "buffers":
            return nn.Sequential(nn.Linear(13, 6), nn.BatchNorm1d(6), last)
        case _:
            return Unused()


MAKERS: Makers = {"tests.mine:Net": net}


def labelled(task: str) -> dict[str, Partition]:
    """The hospitals with labels of another task: an age group, or the first feature with its sign turned."""
    if task == "binary":
        return dict(SITES)
    return {
        name: replace(
            each, train_y=(np.abs(each.train_x[:, 0]) * 7).round() % 3 if task == "multiclass" else -each.train_x[:, 0]
        )
        for name, each in SITES.items()
    }


def check_against_trainers(training: LocalTraining, sites: Mapping[str, Partition]) -> None:
    engine = CohortEngine(sites, makers=MAKERS)
    assert engine.refusal(training) == ""
    base = initial(training.model, training.model_options, training.seed, MAKERS)
    rounds = rounds_of(training)
    updates = engine.train(base, rounds)
    for name, local in rounds.items():
        expected = TorchTrainer(sites[name], makers=MAKERS).train(base, local)
        assert updates[name].keys() == expected.keys()
        assert any(each.any() for each in expected.values())
        for tensor, array in expected.items():
            np.testing.assert_allclose(updates[name][tensor], array, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("training", list(VARIANTS.values()), ids=list(VARIANTS))
def test_whatever_a_run_may_ask_for_is_what_the_trainers_do(training: LocalTraining) -> None:
    check_against_trainers(training, SITES)


@pytest.mark.parametrize("kind", ["stack", "tanh", "dropout"])
@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_trained_as_the_trainers_do(task: str, kind: str) -> None:
    options = OWN | {"options.kind": kind, "options.outputs": "3" if task == "multiclass" else "1"}
    training = replace(LOGISTIC, model="custom", model_options=options, task=task, learning_rate="0.01")
    check_against_trainers(training, labelled(task))


def own(kind: str, **changes: Any) -> LocalTraining:
    return replace(
        LOGISTIC,
        model="custom",
        model_options=OWN | {"options.kind": kind, "frozen": "1.num_batches_tracked"},
        **changes,
    )


@pytest.mark.parametrize(
    ("training", "why"),
    [
        (own("buffers"), "more than parameters"),
        (own("frozen"), "not trained"),
        (own("unused", epsilon="8"), "differential privacy"),
    ],
    ids=["buffers", "frozen", "private"],
)
def test_what_only_a_site_can_train_is_said(training: LocalTraining, why: str) -> None:
    assert why in CohortEngine(SITES, makers=MAKERS).refusal(training)


def test_a_model_that_does_not_fit_is_refused_before_any_round() -> None:
    wide = replace(LOGISTIC, model="custom", model_options=OWN | {"options.kind": "stack", "options.outputs": "2"})
    with pytest.raises(InputError, match="one number a row"):
        CohortEngine(SITES, makers=MAKERS).refusal(wide)
    few = replace(wide, task="multiclass")
    with pytest.raises(InputError, match="classes below the model's 2, got 2"):
        CohortEngine(labelled("multiclass"), makers=MAKERS).refusal(few)


def test_a_private_proximal_term_draws_towards_the_base_without_noise_of_its_own() -> None:
    training = replace(MLP, epsilon="8", epochs=4, learning_rate="0.1")
    base, rounds = base_of(training), rounds_of(training, 300_000)
    pulled = {name: replace(each, training=replace(training, proximal="9")) for name, each in rounds.items()}
    free, drawn = (CohortEngine(SITES, secret=bytes).train(base, each) for each in (rounds, pulled))
    for name, update in drawn.items():
        expected = TorchTrainer(SITES[name], secret=bytes).train(base, pulled[name])
        lengths = [np.linalg.norm(each["hidden1.weight"]) for each in (update, expected, free[name])]
        assert lengths[0] < 0.7 * lengths[2]
        assert 0.5 < lengths[0] / lengths[1] < 2


def test_some_clients_train_without_the_others() -> None:
    engine = CohortEngine(SITES)
    rounds = rounds_of(LOGISTIC)
    whole = engine.train(base_of(LOGISTIC), rounds)
    (name, local) = list(rounds.items())[2]
    some = engine.train(base_of(LOGISTIC), {name: local})
    assert len(some) == 1
    np.testing.assert_allclose(some[name]["output.weight"], whole[name]["output.weight"], rtol=1e-12)


def test_no_clients_no_updates() -> None:
    assert dict(CohortEngine(SITES).train(base_of(LOGISTIC), {})) == {}


def test_private_updates_are_noisy_and_differ_by_client_and_call() -> None:
    training = replace(MLP, epsilon="8")
    engine = CohortEngine(SITES)
    first, again = (engine.train(base_of(training), rounds_of(training, 1_000_000)) for _ in range(2))
    seen = [update["hidden1.weight"] for updates in (first, again) for update in updates.values()]
    for index, one in enumerate(seen):
        for other in seen[:index]:
            assert not np.isclose(one, other, rtol=1e-9).any()


@pytest.mark.slow
def test_workers_train_the_same_round() -> None:
    engine = CohortEngine(SITES, workers=2)
    try:
        updates = engine.train(base_of(MLP), rounds_of(MLP))
        expected = CohortEngine(SITES).train(base_of(MLP), rounds_of(MLP))
        for name in SITES:
            np.testing.assert_allclose(updates[name]["output.weight"], expected[name]["output.weight"], rtol=1e-10)
        private = replace(MLP, epsilon="8")  # another configuration: other workers
        noisy = engine.train(base_of(private), rounds_of(private, 1_000_000))
        assert not np.isclose(noisy["cleveland"]["output.weight"], updates["cleveland"]["output.weight"]).any()
    finally:
        engine.close()


def test_what_a_trainer_refuses_is_refused() -> None:
    engine = CohortEngine(SITES)
    rounds = rounds_of(LOGISTIC)
    name = next(iter(rounds))
    local = rounds[name]
    with pytest.raises(InputError, match="release: expected"):
        engine.train(base_of(LOGISTIC), {name: replace(local, release=Release(0, 1, 1))})
    with pytest.raises(InputError, match=r"release: expected privacy\.epsilon off"):
        engine.train(base_of(LOGISTIC), rounds_of(LOGISTIC, 1_000_000))
    with pytest.raises(InputError, match="one of this engine's partitions, got nobody"):
        engine.train(base_of(LOGISTIC), {"nobody": local})
    with pytest.raises(InputError, match="training: expected the same for all clients"):
        engine.train(base_of(LOGISTIC), {**rounds, name: replace(local, training=replace(LOGISTIC, seed=9))})
    narrow = replace(LOGISTIC, model_options={"inputs": "12"})
    with pytest.raises(InputError, match=r"model\.inputs: expected 13 features, got 12"):
        engine.train(base_of(narrow), rounds_of(narrow))
    with pytest.raises(InputError, match="tensors of the model logistic"):
        engine.train(base_of(MLP), rounds)
    fast = replace(LOGISTIC, learning_rate="fast")
    with pytest.raises(InputError, match="learning_rate: expected a positive number"):
        engine.train(base_of(fast), rounds_of(fast))


class Asked(Mapping[str, Partition]):
    """Partitions of so many clients, made when they are asked for, and who was."""

    def __init__(self, clients: int) -> None:
        self.clients, self.names = clients, list[str]()

    def __getitem__(self, name: str) -> Partition:
        self.names.append(name)
        return replace(SITES["cleveland"], name=name)

    def __iter__(self) -> Iterator[str]:
        return (f"c{number}" for number in range(self.clients))

    def __len__(self) -> int:
        return self.clients

    def __contains__(self, name: object) -> bool:
        return str(name).removeprefix("c").isdecimal() and int(str(name)[1:]) < self.clients


def test_an_engine_that_keeps_no_rows_asks_for_those_of_a_round_only() -> None:
    local = rounds_of(MLP)["cleveland"]
    registered = Asked(1_000_000_000)
    engine = CohortEngine(registered, is_resident=False)
    assert engine.refusal(MLP) == ""
    assert registered.names == ["c0"]
    registered.names.clear()
    updates = engine.train(base_of(MLP), {"c7": local, "c999999999": local})
    assert registered.names == ["c7", "c999999999"]
    expected = CohortEngine(SITES).train(base_of(MLP), {"cleveland": local})
    for tensor, array in expected["cleveland"].items():
        np.testing.assert_allclose(updates["c999999999"][tensor], array, rtol=1e-10, atol=1e-13)
    with pytest.raises(InputError, match="one of this engine's partitions, got c1000000000"):
        engine.train(base_of(MLP), {"c1000000000": local})
    with pytest.raises(InputError, match="workers of an engine that keeps no rows: expected 1, got 2"):
        CohortEngine(registered, 2, is_resident=False)
