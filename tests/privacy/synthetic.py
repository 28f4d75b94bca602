"""Made-up sites whose gradients are known: rows that are Dirac canaries, one coordinate each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.models import initial
from fedchain.core.policy import DataPolicy, DatasetCard, GrantKind
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound

BRIGHT: Final = 1000.0
"""A canary's coordinate: its gradient is about 500 before clipping, of norm C after it."""

RATE: Final = 1e-9
"""So small a learning rate that every step sees the gradient of the first."""

DELTA: Final = 1e-5


def partition_of(rows: npt.NDArray[Any], labels: npt.NDArray[Any], name: str = "synthetic") -> Partition:
    x, y = rows.astype(np.float32), labels.astype(np.float32)
    policy = DataPolicy(name, "made up", GrantKind.LIFETIME, 10_000_000, 10_000_000, "example", False)
    return Partition(name, x, y, x, y, x[:0], y[:0], DatasetCard(name, {}, len(x)), policy)


def canaries(included: Sequence[int] | npt.NDArray[np.intp], inputs: int) -> Partition:
    """One positive row for each included canary: bright in its own coordinate, dark elsewhere."""
    rows = np.zeros((len(included), inputs), np.float32)
    rows[np.arange(len(included)), np.asarray(included, np.intp)] = BRIGHT
    return partition_of(rows, np.ones(len(included)))


class SiteTrainer(Protocol):
    """A trainer that says what it trains on."""

    @property
    def partition(self) -> Partition: ...

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors: ...


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One call of DP-SGD on logistic regression."""

    nominal_size: int
    batch_size: int
    noise_multiplier: float
    epochs: int = 1
    max_grad_norm: float = 1.0
    seed: int = 0

    @property
    def release(self) -> Release:
        batches = batches_per_epoch(self.nominal_size, self.batch_size)
        return Release(round(self.noise_multiplier * 1e6), batches, batches * self.epochs)

    def round_of(self, inputs: int) -> LocalRound:
        training = LocalTraining(
            model="logistic", model_options={"inputs": str(inputs)}, epochs=self.epochs, batch_size=self.batch_size,
            learning_rate=repr(RATE), epsilon="1", delta_e12=10_000_000, max_grad_norm=repr(self.max_grad_norm),
            rounds=1, seed=self.seed,
        )  # fmt: skip
        return LocalRound(training, self.release, 1, self.nominal_size)

    def noisy_sums(self, trainer: SiteTrainer) -> FloatTensors:
        """Return the sum over the steps of what was divided by the public batch: clipped gradients with noise."""
        inputs = trainer.partition.features
        base = initial("logistic", {"inputs": str(inputs)}, 0)
        update = trainer.train(base, self.round_of(inputs))
        batch = self.nominal_size / self.release.batches_per_epoch
        return {name: -array * batch / RATE for name, array in update.items()}
