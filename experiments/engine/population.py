"""Memory beside registered clients: `python -m experiments.engine.population [--registered N] [--strict]`.

Whole recorded runs of one population: 1,000 clients a round of a million that are registered by one root, each with
W1a's rows and model, in float64 as runs are; then the record is verified in the same process. A client's rows are made
when it is in a round and forgotten after it. `--engine` leaves the record out: no registry, no ledger, no home.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from clients.app import make_client_app
from experiments.engine.workloads import BATCH, RATE, Workload, named
from fedchain.adapters.datasets.own import make_partition, sandbox
from fedchain.adapters.datasets.partition import Floats, Partition
from fedchain.adapters.datasets.population import Roll, make_population
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
from fedchain.cli.compose import compose
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound
from fedchain.ports.watcher import Event, RoundOpened
from fedchain.wiring.bench import Bench
from fedchain.wiring.record import verify
from fedchain.wiring.simulation import prepared
from server.app import make_server_app

DATA: Final = "python:partitions"
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
        x, y = self.rows(int(name[1:]), self._workload.rows * 5 // 4)  # a fifth is held out
        return make_partition(name, x, y, self._policy)

    def rows(self, number: int, count: int | None = None) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Return rows and labels of a client, as many as the workload's where nothing else is said."""
        rng, size = np.random.default_rng(number), count or self._workload.rows
        return rng.standard_normal((size, *self._workload.shape), np.float32), rng.integers(0, 2, size)

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


@dataclass(frozen=True, slots=True)
class Recorded:
    """Seconds before the first round, a round, and verifying all; megabytes; clients that the verifier counted."""

    registered: int
    cohort: int
    start: float
    round: float
    verify: float
    verified: int
    before_mb: float
    peak_mb: float


def measure_recorded(registered: int, cohort: int, rounds: int) -> Recorded:
    """Run a population with everything on, and verify its record."""
    opened, before, begun = list[float](), peak_mb(), time.perf_counter()

    def watch(event: Event) -> None:
        if isinstance(event, RoundOpened):
            opened.append(time.perf_counter())

    clients, size = Population(named("W1a"), registered), named("W1a").rows
    policy, roll = sandbox("bench", "made up"), Roll(registered, size, cohort)
    site = make_population("clients", clients.rows, policy, roll, test=clients.rows(registered))
    plain = ["data.name=custom", f"data.target='{DATA}'", "model=mlp", "model.hidden=64", "privacy=off", "rewards=off"]
    training = ["strategy.epochs=1", f"strategy.batch_size={BATCH}", f"strategy.learning_rate={RATE}"]
    config = compose([*plain, *training, "strategy.min_clients=1", f"rounds={rounds}"])
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        home = Path(folder) / "home"
        with prepared(config, home, watch, fresh=True, brought=Bench((site,))) as simulation:
            with simulation.grid(make_client_app(simulation.site_of)) as grid:
                make_server_app(simulation.drive, simulation.clock)(grid, simulation.context())
            summary = simulation.summary()
        start = time.perf_counter()
        found = verify(home, run=summary.run, heads=(), trust=Path(summary.trust_file), scrub=False)
        verified = time.perf_counter() - start
    if found.findings:
        raise AssertionError(f"the record does not verify: {found.findings[0]}")
    counted = next(each.instances for each in found.claims if each.name == "population")
    round_ = statistics.median(after - before for before, after in itertools.pairwise(opened))
    return Recorded(registered, cohort, opened[0] - begun, round_, verified, counted, before, peak_mb())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.population", description=__doc__)
    parser.add_argument("--registered", type=int, default=1_000_000)
    parser.add_argument("--cohort", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--engine", action="store_true", help="the engine by itself, without a record")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a sentence")
    parser.add_argument("--strict", action="store_true", help=f"exit with 1 where it takes {LIMIT_MB} MB or more")
    arguments = parser.parse_args()
    run = measure if arguments.engine else measure_recorded
    line = run(arguments.registered, arguments.cohort, arguments.rounds)
    if arguments.json:
        print(json.dumps(asdict(line)))
    else:
        more = (
            ""
            if isinstance(line, Line)
            else (
                f", recorded; {line.start:.1f} s before the first, verified in {line.verify:.1f} s "
                f"({line.verified:,} clients' updates)"
            )
        )
        print(
            f"{line.cohort:,} clients a round of {line.registered:,}: {line.round:.2f} s a round with the making of "
            f"rows{more}; peak {line.peak_mb:.0f} MB ({line.before_mb:.0f} MB before), wanted below {LIMIT_MB:,} MB"
        )
    return 1 if arguments.strict and line.peak_mb >= LIMIT_MB else 0


if __name__ == "__main__":
    sys.exit(main())
