"""Print the engine's speed against bare loops and Opacus: `python -m experiments.engine [--quick] [--json]`.

Contenders run in turn on the same rows; figures are medians. Processor time is the steadier of the two on a machine
that others use. Exit code 1 where a ratio misses its goal and the machine was asked to be quiet (`--strict`).
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from experiments.engine.bare import Loop, Processes
from experiments.engine.measure import Contender, Figures, interleaved
from experiments.engine.opacus_loop import MODES, OpacusLoop
from experiments.engine.ours import in_process, in_workers
from experiments.engine.workloads import WORKLOADS, Workload
from fedchain.adapters.training.engine.crew import Crew
from fedchain.adapters.training.engine.recipe import Rows, flat

OPACUS_GOALS: Final = {"W1a": 25.0, "W1b": 2.0, "W2": 1.25}
"""How many times faster than the best Opacus mode DP-SGD has to be, both on one process."""

LOOP_GOALS: Final = {"W2": 1 / 1.10}
"""The same for plain SGD against the bare loop on two processes."""


@dataclass(frozen=True, slots=True)
class Line:
    """One contender on one workload; the ratios say how many times as long it takes as ours does."""

    workload: str
    contender: str
    wall_ms: float
    processor_ms: float
    wall_ratio: float
    processor_ratio: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer clients and turns; the figures mean little")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument("--only", choices=[each.name for each in WORKLOADS], help="one workload")
    parser.add_argument("--turns", type=int, default=5, help="rounds that count (default 5)")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where a goal is missed")
    arguments = parser.parse_args()
    # Opacus' hooks stand on a module whose rows want no gradient, which is as it should be in training.
    warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)
    torch.set_num_threads(1)
    lines: list[Line] = []
    for workload in WORKLOADS:
        if arguments.only in (None, workload.name):
            lines += measured(workload.made_quick() if arguments.quick else workload, arguments.turns)
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    else:
        Console(width=120).print(table(lines))
    missed = [line for line in lines if _misses(line)]
    for line in missed:
        print(f"missed: {line.workload}, {line.contender}: {line.wall_ratio:.2f}", file=sys.stderr)
    return 1 if missed and arguments.strict else 0


def measured(workload: Workload, turns: int) -> Iterator[Line]:
    """Yield the lines of one workload: plain SGD, then DP-SGD."""
    data = workload.data()
    rows = Rows.of(data, torch.float32)
    base = flat(list(workload.module().parameters()))
    rng = np.random.default_rng(3)
    cohorts = [rng.choice(workload.registered, workload.cohort, replace=False).tolist() for _ in range(turns + 1)]
    processes = Processes(workload, 2)
    for is_private in (False, True):
        pooled, pool = in_workers(workload, rows, Crew(2), is_private=is_private)
        ours = {"engine, 1 process": in_process(workload, rows, is_private=is_private), "engine, 2 workers": pooled}
        loop = Loop(workload.module(), data)
        others: Mapping[str, Contender] = (
            {f"Opacus {mode}": Contender(OpacusLoop(workload.module(), data, mode).total) for mode in MODES}
            if is_private
            else {
                "loop, 1 process": Contender(loop.total),
                "loop, 2 processes": Contender(processes.total, processes.pids),
            }
        )
        figures = interleaved({**ours, **others}, base, cohorts)
        pool.close()
        yield from _lines(workload, figures, "DP " if is_private else "")
    processes.close()


def _lines(workload: Workload, figures: Mapping[str, Figures], prefix: str) -> Iterator[Line]:
    """Compare what runs on two processes with our two workers, and everything else with our one process."""
    for name, each in figures.items():
        ours = figures["engine, 2 workers" if name.endswith(("2 workers", "2 processes")) else "engine, 1 process"]
        yield Line(
            workload.name, prefix + name, each.wall * 1e3, each.processor * 1e3, each.wall / ours.wall,
            each.processor / ours.processor,
        )  # fmt: skip


def _misses(line: Line) -> bool:
    if "Opacus" in line.contender:
        return line.wall_ratio < OPACUS_GOALS[line.workload]
    return line.contender == "loop, 2 processes" and line.wall_ratio < LOOP_GOALS.get(line.workload, 1.0)


def table(lines: list[Line]) -> Table:
    """Return the lines as a table."""
    result = Table(title="one round, medians of turns; ratios: how many times as long as the engine")
    for heading in ("workload", "who", "ms", "processor ms", "ratio", "processor ratio"):
        result.add_column(heading)
    for line in lines:
        times = (f"{line.wall_ms:.1f}", f"{line.processor_ms:.1f}")
        result.add_row(line.workload, line.contender, *times, f"{line.wall_ratio:.2f}", f"{line.processor_ratio:.2f}")
    return result


if __name__ == "__main__":
    sys.exit(main())
