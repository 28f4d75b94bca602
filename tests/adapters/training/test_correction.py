"""SCAFFOLD at a site's trainer: a correction turns each step, and on unlike hospitals it takes the drift away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.aggregation import ExactSum
from fedchain.core.control import SCAFFOLD, Control, Steps, own_after, own_from_bytes
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, TensorSchema
from fedchain.ports.training import LocalRound

ENCODING = FixedPoint()
PLAIN = LocalTraining("logistic", {"inputs": "13"}, 1, 1000, "0.5", "off", 10_000_000, "1.0", 15, 1, updates=20)
CORRECTED = replace(PLAIN, correction=SCAFFOLD)
SINGLE = replace(CORRECTED, updates=1)


@pytest.fixture(scope="module")
def sites() -> Sequence[Partition]:
    return load_heart()


def base_of(training: LocalTraining) -> FloatTensors:
    return initial(training.model, training.model_options, training.seed)


def round_of(training: LocalTraining, site: Partition, noise_e6: int, correction: FloatTensors | None) -> LocalRound:
    size = site.card.nominal_size
    release = Release(noise_e6, batches_per_epoch(size, training.batch_size), training.updates)
    return LocalRound(training, release, 1, size, correction)


@pytest.mark.parametrize("noise_e6", [0, 1_000_000], ids=["plain", "private"])
def test_a_step_goes_against_the_gradient_and_the_correction(noise_e6: int, sites: Sequence[Partition]) -> None:
    """After clipping and noise: with the same noise, only the correction makes a difference, and all of it."""
    training = replace(SINGLE, epsilon="8") if noise_e6 else SINGLE
    correction = {"output.bias": np.array([50.0]), "output.weight": np.arange(-6.0, 7.0).reshape(1, 13)}
    trainer = TorchTrainer(sites[3], secret=bytes)
    updates = [
        trainer.train(base_of(training), round_of(training, sites[3], noise_e6, each)) for each in (None, correction)
    ]
    for name, each in correction.items():
        np.testing.assert_allclose(updates[1][name] - updates[0][name], -0.5 * each, rtol=0, atol=1e-12)


def test_the_engine_says_why_it_does_not_take_corrections(sites: Sequence[Partition]) -> None:
    engine = CohortEngine({each.name: each for each in sites})
    assert "controls that only the sites have" in engine.refusal(CORRECTED)
    assert engine.refusal(PLAIN) == ""
    correction = {name: np.zeros_like(each) for name, each in base_of(PLAIN).items()}
    with pytest.raises(InputError, match="expected no correction"):
        engine.train(base_of(PLAIN), {sites[3].name: round_of(PLAIN, sites[3], 0, correction)})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The norm of the global loss' gradient at the last model, and that of the longest last update."""

    gradient: float
    drift: float


def trained(sites: Sequence[Partition], training: LocalTraining) -> Outcome:
    """Train all hospitals for the rounds of a plan, as sites and the round machine do."""
    model = ENCODING.quantise(base_of(training))
    schema, steps = TensorSchema.of(model), Steps(training.updates, training.learning_rate)
    server, own = Control.read(None, schema), {each.name: own_from_bytes(None, schema) for each in sites}
    rows, longest = sum(each.card.nominal_size for each in sites), 0.0
    for _ in range(training.rounds):
        total, base, longest = ExactSum(schema), ENCODING.dequantise(model), 0.0
        for each in sites:
            correction = server.less(own[each.name]) if training.correction == SCAFFOLD else None
            trained_ = TorchTrainer(each).train(base, round_of(training, each, 0, correction))
            update = ENCODING.quantise(trained_)
            if correction is not None:
                own[each.name] = own_after(correction, update, steps, ENCODING)
            total.add(update, each.card.nominal_size)
            longest = max(longest, float(np.sqrt(sum((tensor**2).sum() for tensor in trained_.values()))))
        server = server.after(total, rows, steps, {}, ENCODING)
        model = total.apply_to(model, ENCODING)
    return Outcome(_gradient(sites, ENCODING.dequantise(model)), longest)


def _gradient(sites: Sequence[Partition], model: FloatTensors) -> float:
    x = np.concatenate([each.train_x for each in sites]).astype(np.float64)
    y = np.concatenate([each.train_y for each in sites])
    errors = 1 / (1 + np.exp(-(x @ model["output.weight"][0] + model["output.bias"][0]))) - y
    return float(np.linalg.norm([*(errors @ x), errors.sum()]) / len(y))


def test_unlike_hospitals_drift_with_many_local_steps_and_controls_stop_them(sites: Sequence[Partition]) -> None:
    """Four hospitals, 20 steps a round: FedAvg stays where their drifts cancel, SCAFFOLD goes to the common optimum."""
    averaged, corrected = trained(sites, PLAIN), trained(sites, CORRECTED)
    assert corrected.drift < averaged.drift / 10
    assert corrected.gradient < averaged.gradient / 3
