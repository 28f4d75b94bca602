"""Rounds timed in turn, wall clock and processor time, so that a drifting or shared machine cancels in the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """Someone who trains a round: from a base model (flat) and a cohort to the sum of its updates."""

    total: Callable[[torch.Tensor, Sequence[int]], torch.Tensor]
    pids: Sequence[int] = ()
    """Its worker processes, whose processor time counts as well."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Medians over the turns: seconds a round by the clock and on processors."""

    wall: float
    processor: float


def interleaved(
    contenders: Mapping[str, Contender], base: torch.Tensor, cohorts: Sequence[Sequence[int]]
) -> dict[str, Figures]:
    """Run every contender once for each cohort, in turn; the first cohort only warms up."""
    seen: dict[str, list[Figures]] = {name: [] for name in contenders}
    for turn, cohort in enumerate(cohorts):
        for name, contender in contenders.items():
            before, start = _processor(contender.pids), time.perf_counter()
            total = contender.total(base, cohort)
            base.add(total, alpha=1 / len(cohort))
            wall = time.perf_counter() - start
            if turn:
                seen[name].append(Figures(wall, _processor(contender.pids) - before))
    return {
        name: Figures(statistics.median(f.wall for f in all_), statistics.median(f.processor for f in all_))
        for name, all_ in seen.items()
    }


def _processor(pids: Sequence[int]) -> float:
    """Return the processor seconds of this process and the given ones so far."""
    others = 0
    for pid in pids:
        for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            others += int(path.read_text().split()[0])
    return time.process_time() + others / 1e9
