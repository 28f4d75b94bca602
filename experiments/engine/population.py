"""Memory beside registered clients: `python -m experiments.engine.population [--registered N] [--strict]`.

The engine trains 1,000 clients a round of a million, each with W1a's rows and model, in float64 as runs do. A client's
rows are made when it is in a round and forgotten after it. This is the engine by itself: no registry, no ledger, no
homes of sites.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from experiments.engine.workloads import BATCH, RATE, Workload, named
from fedchain.adapters.datasets.own import make_partition, sandbox
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound

LIMIT_MB: Final = 3_000
"""The most that the process may take, libraries included."""

TRAINING: Final = LocalTraining(
    "mlp", {"inputs": "13", "hidden": "64"}, 1, BATCH, str(RATE), "off", 10_000_000, "1.0", 5, 1
)


class Population(Mapping[str, Partition]):
    """Clients c0, c1, ... whose rows are a function of their number and are kept nowhere."""

    def __init__(self, workload: Workload, registered: int) -> None:
        self._workload, self._registered, self._policy = workload, registered, sandbox("bench", "made up")

    def __getitem__(self, name: str) -> Partition:
        rng = np.random.default_rng(int(name[1:]))
        rows = self._workload.rows * 5 // 4  # a fifth is held out
        x = rng.standard_normal((rows, *self._workload.shape), np.float32)
        return make_partition(name, x, rng.integers(0, 2, rows), self._policy)

    def __iter__(self) -> Iterator[str]:
        return (f"c{number}" for number in range(self._registered))

    def __len__(self) -> int:
        return self._registered

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name[:1] == "c" and name[1:].isdecimal() and int(name[1:]) < len(self)


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds a round, the rows' making included, and megabytes: the libraries' alone, and the most of all."""

    registered: int
    cohort: int
    round: float
    before_mb: float
    peak_mb: float


def measure(registered: int, cohort: int, rounds: int) -> Line:
    """Train rounds of clients sampled out of so many."""
    engine = CohortEngine(Population(named("W1a"), registered), is_resident=False)
    rng, model, seconds = np.random.default_rng(3), initial("mlp", TRAINING.model_options, TRAINING.seed), list[float]()
    before = peak_mb()
    for round_ in range(1, rounds + 1):
        begun = time.perf_counter()
        names = [f"c{number}" for number in rng.choice(registered, cohort, replace=False, shuffle=False)]
        model = trained(engine, model, names, round_)
        seconds.append(time.perf_counter() - begun)
    return Line(registered, cohort, statistics.median(seconds), before, peak_mb())


def trained(engine: CohortEngine, model: FloatTensors, names: list[str], round_: int) -> FloatTensors:
    """Return the model after a round: the clients' mean."""
    rows = named("W1a").rows
    batches = batches_per_epoch(rows, BATCH)
    local = LocalRound(TRAINING, Release(0, batches, TRAINING.steps(batches)), round_, rows)
    updates = engine.train(model, dict.fromkeys(names, local))
    sums = {name: np.zeros_like(array) for name, array in model.items()}
    for client in names:
        for name, array in updates[client].items():
            sums[name] += array
    return {name: array + sums[name] / len(names) for name, array in model.items()}


def peak_mb() -> float:
    """Return the most memory that this process has had, in MB of 10^6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.population", description=__doc__)
    parser.add_argument("--registered", type=int, default=1_000_000)
    parser.add_argument("--cohort", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a sentence")
    parser.add_argument("--strict", action="store_true", help=f"exit with 1 where it takes {LIMIT_MB} MB or more")
    arguments = parser.parse_args()
    line = measure(arguments.registered, arguments.cohort, arguments.rounds)
    if arguments.json:
        print(json.dumps(asdict(line)))
    else:
        print(
            f"{line.cohort:,} clients a round of {line.registered:,}: {line.round:.2f} s a round with the making of "
            f"rows, peak {line.peak_mb:.0f} MB ({line.before_mb:.0f} MB before), wanted below {LIMIT_MB:,} MB"
        )
    return 1 if arguments.strict and line.peak_mb >= LIMIT_MB else 0


if __name__ == "__main__":
    sys.exit(main())
