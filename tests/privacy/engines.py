"""The engines that the privacy tests run on: the site's own trainer, and a simulation's engine on a cohort."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Final, TypeAlias

import pytest

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.secret_stream import Secret
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound


@dataclass(frozen=True, slots=True)
class InACohort:
    """The engine as a trainer of one partition, which is trained beside a neighbour that has the same rows."""

    partition: Partition
    secret: Secret = os.urandom

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """Return the update of the partition; the neighbour's must not be it."""
        engine = CohortEngine({"neighbour": self.partition, "site": self.partition}, 1, self.secret)
        updates = engine.train(base, {"neighbour": local, "site": local})
        return updates["site"]


TrainerOf: TypeAlias = type[TorchTrainer] | type[InACohort]

ON_EACH_ENGINE: Final = pytest.mark.parametrize("engine", [TorchTrainer, InACohort], ids=["trainer", "vectorised"])
