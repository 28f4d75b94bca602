"""What recording costs: whole runs of the workloads, `python -m experiments.engine.recorded [W1a W1b W2]`.

A run does all that `fedchain run` does: charges, the engine in float64, signatures, encryption, gate, store, journal,
seal, receipts, the evaluation of each round, and MLflow beside it. A round's recording is what it takes beside the
engine and the evaluation. The bound is sha256, write and fsync of the same update bytes: one file for each site's.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import json
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from torch import nn

from clients.app import make_client_app
from experiments.engine.recorded_line import Line, as_population, bare
from experiments.engine.workloads import MODELS, WORKLOADS, Workload, named
from fedchain.adapters.datasets.own import make_partition, sandbox
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.population import Roll, make_population
from fedchain.adapters.training.engine.cohort import CohortEngine, Updates
from fedchain.cli.compose import compose
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound
from fedchain.ports.watcher import Evaluated, Event, RoundEnded, RoundOpened, RunEnded
from fedchain.wiring.bench import Bench
from fedchain.wiring.simulation import prepared
from server.app import make_server_app

DATA: Final = "python:partitions"


def small() -> nn.Module:
    """Return the model of W1a."""
    return MODELS["small"]({})


def wide() -> nn.Module:
    """Return the model of W1b."""
    return MODELS["wide"]({})


def convolution() -> nn.Module:
    """Return the model of W2."""
    return MODELS["convolution"]({})


MAKERS: Final = {"small": small, "wide": wide, "convolution": convolution}


@dataclass(slots=True)
class Watch:
    """When rounds were opened, and what the engine took in each; the profile covers all rounds but the first."""

    profile: cProfile.Profile | None
    opened: list[float] = field(default_factory=list[float])
    trained: list[float] = field(default_factory=list[float])
    evaluated: list[float] = field(default_factory=list[float])
    decided: float = 0.0
    ended: float = 0.0

    def __call__(self, event: Event) -> None:
        """See `Watcher`."""
        if isinstance(event, RoundOpened):
            self.opened.append(time.perf_counter())
            if self.profile is not None and len(self.opened) == 2:
                self.profile.enable()
        elif isinstance(event, RoundEnded):
            self.decided = time.perf_counter()
        elif isinstance(event, Evaluated):
            self.evaluated.append(time.perf_counter() - self.decided)
        elif isinstance(event, RunEnded):
            self.ended = time.perf_counter()
            if self.profile is not None:
                self.profile.disable()

    @contextmanager
    def timing(self) -> Iterator[None]:
        """Time what the engine does."""
        train = CohortEngine.train

        def timed(engine: CohortEngine, base: FloatTensors, rounds: Mapping[str, LocalRound]) -> Updates:
            start = time.perf_counter()
            updates = train(engine, base, rounds)
            self.trained.append(time.perf_counter() - start)
            return updates

        CohortEngine.train = timed  # type: ignore[assignment,method-assign]  # a benchmark looks inside
        try:
            yield
        finally:
            CohortEngine.train = train  # type: ignore[method-assign]  # as it was


def homes_of(workload: Workload) -> tuple[Partition, ...]:
    """Return a site for each client of a round."""
    sized = replace(workload, registered=workload.cohort, rows=workload.rows * 5 // 4)  # a fifth is held out
    policy = sandbox("bench", "made up")
    return tuple(
        make_partition(f"c{number:03}", x.numpy(), y.numpy(), policy) for number, (x, y) in enumerate(sized.data())
    )


def population_of(workload: Workload) -> tuple[Partition, ...]:
    """Return one site that answers for all registered clients."""
    data = [(x.numpy(), y.numpy()) for x, y in workload.data()]
    held = replace(workload, registered=1, rows=workload.cohort * workload.rows // 4).data()[0]
    roll = Roll(workload.registered, workload.rows, workload.cohort)
    policy, test = sandbox("bench", "made up"), (held[0].numpy(), held[1].numpy())
    return (make_population("clients", data.__getitem__, policy, roll, test=test),)


@dataclass(frozen=True, slots=True)
class Manner:
    """How a workload is run: a home for each client, or one site with a population; what else is configured."""

    is_population: bool = False
    overrides: tuple[str, ...] = ()
    rounds: int = 4


def measure(workload: Workload, manner: Manner, profile: cProfile.Profile | None = None) -> Line:
    """Run a workload with everything on, in a home that is removed afterwards."""
    parts = population_of(workload) if manner.is_population else homes_of(workload)
    target = f"experiments.engine.recorded:{workload.model}"
    own = [f"model.target='{target}'", "model.name=custom", "model.task=multiclass", f"data.target='{DATA}'"]
    training = [
        "data.name=custom",
        "privacy=off",
        "rewards=off",
        f"rounds={manner.rounds}",
        "strategy.epochs=1",
        "strategy.batch_size=32",
    ]
    config = compose([*own, *training, "strategy.learning_rate=0.1", "strategy.min_clients=1", *manner.overrides])
    watch, begun = Watch(profile), time.perf_counter()
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder, watch.timing():
        brought = Bench(parts, {target: MAKERS[workload.model]}, {})
        with prepared(config, Path(folder) / "home", watch, fresh=True, brought=brought) as simulation:
            start = time.perf_counter() - begun
            with simulation.grid(make_client_app(simulation.site_of)) as grid:
                make_server_app(simulation.drive, simulation.clock)(grid, simulation.context())
        size = 4 * sum(each.numel() for each in workload.module().parameters())
        files = 1 if manner.is_population else workload.cohort
        bound = bare(Path(folder), files, size * workload.cohort // files)
    rounds = [after - before for before, after in itertools.pairwise(watch.opened[1:])]
    spent = list(zip(rounds, watch.trained[1:], watch.evaluated[1:], strict=False))  # the last round has no next one
    whole, engine, evaluation = (statistics.median(each[column] for each in spent) for column in range(3))
    recording = statistics.median(each[0] - each[1] - each[2] for each in spent)
    drain = watch.ended - watch.decided - watch.evaluated[-1]
    name = as_population(workload.name) if manner.is_population else workload.name
    return Line(name, start, whole, engine, evaluation, recording, drain, bound)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.recorded", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=[each.name for each in WORKLOADS])
    parser.add_argument("--quick", action="store_true", help="fewer clients; the figures mean little")
    parser.add_argument("--rounds", type=int, default=4, help="rounds, the first and the last not counted (default 4)")
    parser.add_argument("--profile", action="store_true", help="print where the time goes; figures are then too high")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    parser.add_argument("--population", action="store_true", help="one site that answers for all registered clients")
    parser.add_argument("--set", action="append", default=[], help="an override of the configuration, key=value")
    arguments = parser.parse_args()
    profile = cProfile.Profile() if arguments.profile else None
    workloads = [named(name).made_quick() if arguments.quick else named(name) for name in arguments.workloads]
    manner = Manner(arguments.population, tuple(arguments.set), arguments.rounds)
    lines = [measure(workload, manner, profile) for workload in workloads]
    if arguments.json:
        sys.stdout.write("\n" + json.dumps([asdict(line) for line in lines]) + "\n")
    else:
        Console(width=120).print(table(lines))
    if profile is not None:
        for order in ("cumulative", "tottime"):
            pstats.Stats(profile, stream=sys.stdout).sort_stats(order).print_stats(60)
    return 0


def table(lines: Sequence[Line]) -> Table:
    """Return the lines as a table."""
    result = Table(title="a round, seconds")
    for heading in ("workload", "before", "round", "engine", "evaluation", "recording", "bound", "ratio", "drain"):
        result.add_column(heading)
    for line in lines:
        figures = [line.start, line.round, line.engine, line.evaluation, line.recording, line.bound]
        ratio = f"{line.recording / line.bound:.1f}"
        result.add_row(line.name, *(f"{each:.3f}" for each in figures), ratio, f"{line.drain:.3f}")
    return result


if __name__ == "__main__":
    sys.exit(main())
