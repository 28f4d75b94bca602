"""What every peer's program does: read the workload from the command line, time rounds, print seconds as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from experiments.engine.bare import Round
from experiments.engine.workloads import Workload, named


def module(name: str) -> Any:  # noqa: ANN401 - a peer's module, which has no types here
    """Import a peer's module by name."""
    return importlib.import_module(name)


def asked() -> tuple[Workload, int, int]:
    """Return the workload and the numbers of rounds and processes that the command line names; use one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload")
    parser.add_argument("rounds", type=int)
    parser.add_argument("processes", type=int)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workload = named(arguments.workload)
    return workload.made_quick() if arguments.quick else workload, arguments.rounds, arguments.processes


def report(seconds: list[float]) -> None:
    """Print the rounds' seconds on a line of their own."""
    sys.stdout.write("\n" + json.dumps({"seconds": seconds}) + "\n")
    sys.stdout.flush()


def averaged(workload: Workload, total: Round) -> Callable[[], None]:
    """Return a round of a new cohort, whose mean update goes into the model."""
    base = torch.cat([each.detach().reshape(-1) for each in workload.module().parameters()])
    rng = np.random.default_rng(3)

    def round_() -> None:
        cohort = rng.choice(workload.registered, workload.cohort, replace=False).tolist()
        base.add_(total(base, cohort), alpha=1 / workload.cohort)

    return round_


def timed(round_: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each call."""
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        round_()
        seconds.append(time.perf_counter() - start)
    return seconds
