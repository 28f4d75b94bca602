"""What the heart experiment learns: FedAvg of logistic regression over four hospitals, with and without privacy.

The score is the AUROC of the federated model over the four hospitals' test predictions together, mean of 20 resplits.
Everything that touches the model is the real thing: local training, charges, fixed point, exact aggregation.
"""

from __future__ import annotations

from statistics import fmean

import numpy as np
import pytest

from fedchain.adapters.datasets.heart import HOSPITALS, load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.adapters.training.evaluation import auroc, predict
from fedchain.adapters.training.models import initial, schema
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.aggregation import ExactSum
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import IntTensors
from fedchain.ports.training import LocalRound

ENCODING = FixedPoint()
DELTA_E12 = 10**7
RESPLITS = tuple(f"resplit-{seed}" for seed in range(20))


def heart_training(epsilon: str, seed: int) -> LocalTraining:
    """The heart experiment's choices (conf/experiment/heart.yaml)."""
    return LocalTraining(
        model="logistic", model_options={"inputs": "13"}, epochs=1, batch_size=32, learning_rate="1.0",
        epsilon=epsilon, delta_e12=DELTA_E12, max_grad_norm="2.0", rounds=5, seed=seed,
    )  # fmt: skip


def release_of(training: LocalTraining, partition: Partition) -> Release:
    batches = batches_per_epoch(partition.card.nominal_size, training.batch_size)
    steps = batches * training.epochs
    if training.epsilon == "off":
        return Release(0, batches, steps)
    noise = PrvAccountant().calibrate(
        epsilon=float(training.epsilon), delta=training.delta_e12 / 1e12, batches_per_epoch=batches,
        steps=steps * training.rounds,
    )  # fmt: skip
    return Release(noise, batches, steps)


def federated_model(partitions: tuple[Partition, ...], training: LocalTraining) -> IntTensors:
    model = ENCODING.quantise(initial(training.model, training.model_options, training.seed))
    for round_ in range(1, training.rounds + 1):
        base = ENCODING.dequantise(model)
        total = ExactSum(schema(training.model, training.model_options))
        for partition in partitions:
            local = LocalRound(training, release_of(training, partition), round_, partition.card.nominal_size)
            update = TorchTrainer(partition).train(base, local)
            total.add(ENCODING.quantise(update), partition.card.nominal_size)
        model = total.apply_to(model, ENCODING)
    return model


def pooled_test_auroc(split: str, epsilon: str) -> float:
    partitions = load_heart(split=split)
    training = heart_training(epsilon, seed=1)
    tensors = ENCODING.dequantise(federated_model(partitions, training))
    logits = [predict(training.model, training.model_options, tensors, each.test_x) for each in partitions]
    score = auroc(np.concatenate(logits), np.concatenate([each.test_y for each in partitions]))
    assert score is not None
    return score


@pytest.fixture(scope="module")
def without_privacy() -> float:
    return fmean(pooled_test_auroc(split, "off") for split in RESPLITS)


def test_the_federated_model_ranks_patients_of_all_hospitals_without_privacy(without_privacy: float) -> None:
    assert without_privacy >= 0.86


def test_epsilon_8_at_every_hospital_costs_at_most_two_hundredths(without_privacy: float) -> None:
    assert fmean(pooled_test_auroc(split, "8") for split in RESPLITS) >= without_privacy - 0.02


def test_no_hospital_spends_more_than_epsilon_8() -> None:
    training = heart_training("8", seed=1)
    for partition in load_heart():
        once = release_of(training, partition)
        whole_run = Release(once.noise_multiplier_e6, once.batches_per_epoch, once.steps * training.rounds)
        assert 7.99 < PrvAccountant().spent([whole_run], DELTA_E12 / 1e12).epsilon <= 8
    assert len(HOSPITALS) == 4
