"""When a run is at its best, and when it is enough: one metric by round, higher or lower being better.

Early stopping with patience is Prechelt's (Early Stopping - But When?, 1998), counted in rounds: both questions are
functions of the values so far, so whoever has those comes to the same answer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

IS_HIGHER_BETTER: Final[Mapping[str, bool]] = MappingProxyType(
    {"accuracy": True, "auprc": True, "auroc": True, "log_loss": False, "mae": False, "rmse": False}
)
METRICS_OF: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"binary": ("auroc", "auprc", "accuracy"), "multiclass": ("accuracy", "log_loss"), "regression": ("rmse", "mae")}
)
"""The metrics of each task; the first is what is taken where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What is watched: a metric of `IS_HIGHER_BETTER`, and how long (rounds, 0: for ever) and how closely to wait."""

    metric: str
    patience: int = 0
    min_delta: float = 0.0

    @property
    def words(self) -> str:
        """Why a run ended that was enough."""
        margin = f" by more than {self.min_delta:g}" if self.min_delta else ""
        rounds = "1 round" if self.patience == 1 else f"{self.patience} rounds"
        return f"no better {self.metric}{margin} for {rounds}"

    def is_better(self, value: float, than: float | None, margin: float = 0.0) -> bool:
        """Whether a value beats another by more than the margin; a NaN beats nothing."""
        if than is None or math.isnan(value):
            return not math.isnan(value)
        return value > than + margin if IS_HIGHER_BETTER[self.metric] else value < than - margin


def best_round(goal: Goal, values: Mapping[int, float]) -> int | None:
    """Return the round with the best value, the earliest of equals; None without any."""
    best: int | None = None
    for round_ in sorted(values):
        if goal.is_better(values[round_], None if best is None else values[best]):
            best = round_
    return best


def is_enough(goal: Goal, values: Mapping[int, float]) -> bool:
    """Whether the last `patience` rounds brought nothing better by more than `min_delta` than what was before them."""
    reference: float | None = None
    waited = 0
    for round_ in sorted(values):
        if goal.is_better(values[round_], reference, goal.min_delta):
            reference, waited = values[round_], 0
        else:
            waited += 1
        if waited >= goal.patience > 0:
            return True
    return False
