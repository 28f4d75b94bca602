"""A whole round with everything on, against the same training in a bare loop; what its verification costs.

Everything is: privacy accounting, DP-SGD, signatures, gate, store, seal, receipts.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from pathlib import Path

from experiments.bench.measure import Row
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training import models
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.cli.simulation import simulate
from fedchain.config import (
    DataConfig,
    EncryptionConfig,
    ExperimentConfig,
    LedgerConfig,
    ModelConfig,
    PrivacyConfig,
    RewardsConfig,
    SimulationConfig,
    StoreConfig,
    StrategyConfig,
)
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound
from fedchain.ports.watcher import Event, RoundEnded, RoundOpened
from fedchain.wiring.bench import load_data
from fedchain.wiring.record import verify
from fedchain.workflow.planning import local_training


def experiment(hidden: int, rounds: int) -> ExperimentConfig:
    """Return the heart experiment with an MLP of 15 * hidden + 1 parameters under differential privacy."""
    return ExperimentConfig(
        experiment="bench",
        seed=1,
        rounds=rounds,
        data=DataConfig("heart", "flamby", None),
        model=ModelConfig("mlp", hidden),
        privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0),
        strategy=StrategyConfig("fedavg", 1, 16, 0.1, 4, 100.0, 1, 3600),
        store=StoreConfig("embedded"),
        encryption=EncryptionConfig("on"),
        ledger=LedgerConfig("embedded", 31337),
        rewards=RewardsConfig("off", 0, "credits", None, 60),
        simulation=SimulationConfig(None),
    )


def measure(hidden: int, rounds: int) -> list[Row]:
    """Return a row for the round and one for its verification; the bare loop runs between two runs of the real one."""
    config = experiment(hidden, rounds)
    partitions = load_data(config.data, Path())
    training = local_training(config, partitions[0].features)
    parameters = models.schema(training.model, training.model_options).parameters
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        home = Path(folder) / "home"
        first = _run(config, home)
        bare = _bare(training, partitions, rounds)
        second = _run(config, home)
        start = time.perf_counter()
        verify(home, run=None, heads=(), trust=home / "trust.json", scrub=False)
        verifying = (time.perf_counter() - start) / (2 * rounds)
    whole = statistics.median(first + second)
    name = f"round with everything on, {parameters:,} parameters"
    return [
        Row(name, whole, "bare training loop, no record", statistics.median(bare), None),
        Row(f"verifying a round, {parameters:,} parameters", verifying, "that round", whole, None),
    ]


def _run(config: ExperimentConfig, home: Path) -> list[float]:
    """Return the seconds of each round but the first: from its opening until the next one's."""
    times: list[float] = []

    def watch(event: Event) -> None:
        if isinstance(event, RoundOpened | RoundEnded):
            times.append(time.perf_counter())

    simulate(config, home, watch, fresh=True)
    opened = times[0::2]
    return [after - before for before, after in itertools.pairwise(opened[1:])] or [times[1] - times[0]]


def _bare(training: LocalTraining, partitions: tuple[Partition, ...], rounds: int) -> list[float]:
    model = models.initial(training.model, training.model_options, 1)
    times: list[float] = []
    for round_ in range(1, rounds + 1):
        start = time.perf_counter()
        updates = [_update(training, each, model, round_) for each in partitions]
        total = sum(each.card.nominal_size for each in partitions)
        for name in model:
            mean = sum(u[name] * (p.card.nominal_size / total) for u, p in zip(updates, partitions, strict=True))
            model[name] = model[name] + mean
        times.append(time.perf_counter() - start)
    return times[1:]


def _update(training: LocalTraining, partition: Partition, model: FloatTensors, round_: int) -> FloatTensors:
    size = partition.card.nominal_size
    batches = batches_per_epoch(size, training.batch_size)
    release = Release(1_000_000, batches, batches * training.epochs)
    base = FixedPoint().dequantise(FixedPoint().quantise(model))
    return TorchTrainer(partition).train(base, LocalRound(training, release, round_, size))
