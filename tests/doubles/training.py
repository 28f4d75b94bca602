"""A trainer and an accountant whose results can be worked out by hand."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.core.errors import InputError
from fedchain.core.privacy import MICRO, Release
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound, Spent

LEAST_NOISE_E6: Final = 300_000


@dataclass(slots=True)
class NamedTrainer:
    """Goes its own way from the base, by its name and the round; with privacy, another way on every call.

    A correction turns it, as it would turn each step.
    """

    name: str
    calls: list[LocalRound] = field(default_factory=list[LocalRound])

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        self.calls.append(local)
        fresh = len(self.calls) if local.release.is_protected else 0
        update = {
            name: _draw(f"{self.name}/{name}/{local.round}/{fresh}", array.shape) - array / 8
            for name, array in base.items()
        }
        turn = local.correction or {}
        return {name: array - turn[name] / 8 if name in turn else array for name, array in update.items()}


def _draw(label: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Return numbers in [-0.5, 0.5)."""
    raw = hashlib.shake_256(label.encode()).digest(4 * math.prod(shape))
    return np.frombuffer(raw, "<i4").reshape(shape) / 2.0**32


@dataclass(frozen=True, slots=True)
class AddingAccountant:
    """epsilon = the sum of steps * rate / noise multiplier, at any delta: losses just add up."""

    def spent(self, releases: Sequence[Release], delta: float) -> Spent:
        if not 0 < delta < 1:
            raise InputError("delta", expected="a number between 0 and 1", got=delta)
        if not all(each.is_protected for each in releases):
            return Spent(math.inf, "sum")
        losses = (Fraction(each.steps * MICRO, each.batches_per_epoch * each.noise_multiplier_e6) for each in releases)
        return Spent(float(sum(losses, Fraction(0))), "sum")

    def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
        if not 0 < epsilon < math.inf or not 0 < delta < 1 or not 1 <= steps <= 10**6:
            raise InputError("privacy parameters", expected="epsilon > 0, 0 < delta < 1, 1..1e6 steps", got=epsilon)
        return max(LEAST_NOISE_E6, math.ceil(Fraction(steps * MICRO, batches_per_epoch) / Fraction(str(epsilon))))
