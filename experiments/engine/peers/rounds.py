"""What every peer's program does: read the workload from the command line, time rounds, print seconds as JSON."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from experiments.engine.workloads import Workload, named


def module(name: str) -> Any:  # noqa: ANN401 - a peer's module, which has no types here
    """Import a peer's module by name."""
    return importlib.import_module(name)


def asked() -> tuple[Workload, int]:
    """Return the workload and the number of rounds that the command line names; use one thread."""
    parser = argparse.ArgumentParser()
    parser.add_argument("workload")
    parser.add_argument("rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    workload = named(arguments.workload)
    return workload.made_quick() if arguments.quick else workload, arguments.rounds


def report(seconds: list[float]) -> None:
    """Print the rounds' seconds, but the first's, on a line of their own."""
    sys.stdout.write("\n" + json.dumps({"seconds": seconds[1:]}) + "\n")
    sys.stdout.flush()


def timed(round_: Callable[[], object], rounds: int) -> list[float]:
    """Return the seconds of each of rounds + 1 calls."""
    seconds = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        round_()
        seconds.append(time.perf_counter() - start)
    return seconds
