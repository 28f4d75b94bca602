"""The engine gives a simulation what the sites' own trainers give, and refuses what they refuse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
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
        release = Release(noise_e6, batches, batches * training.epochs)
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
