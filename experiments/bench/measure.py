"""Timing: alternatives are run in turn, A B A B, and compared by their medians, so that a drifting machine cancels."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured against what, in a unit; None is no bound of the ratio."""

    name: str
    measured: float
    peer: str
    peer_measured: float
    bound: float | None
    note: str = ""
    unit: Literal["s", "bytes", "gas"] = "s"

    @property
    def ratio(self) -> float:
        """Measured over peer."""
        return self.measured / self.peer_measured

    @property
    def holds(self) -> bool:
        """Whether the ratio stays within its bound."""
        return self.bound is None or self.ratio <= self.bound


def interleaved(
    alternatives: Sequence[Callable[[], object]], repeats: int, before_each: Callable[[], object] = int
) -> list[float]:
    """Return each alternative's median seconds over `repeats` turns, after one turn that is not counted.

    The time of `before_each` is not counted either.
    """
    times: list[list[float]] = [[] for _ in alternatives]
    for turn in range(repeats + 1):
        for index, alternative in enumerate(alternatives):
            before_each()
            start = time.perf_counter()
            alternative()
            if turn:
                times[index].append(time.perf_counter() - start)
    return [statistics.median(each) for each in times]
