"""How a simulation trains a round: every site is charged first, then one engine trains them all, then each is asked.

A site that is asked finds its charge and is handed the update that the engine trained from this base and this release,
once; for anything else (a site that the engine did not train, an attempt after a failure) it trains by itself. So what
leaves a site is checked, charged, quantised, encrypted and signed where it always is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.targets import is_importable
from fedchain.adapters.training.device import CPU
from fedchain.adapters.training.engine.cohort import CohortEngine, products_of
from fedchain.adapters.training.population import PopulationTrainer
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.config import ExperimentConfig
from fedchain.core.errors import FedchainError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import LocalTraining, RoundProof, SignedPromise, Task
from fedchain.core.tensors import FloatTensors, decode
from fedchain.ports.cohort import Cohort, ReceiptReply, Reply
from fedchain.ports.training import Engine, LocalRound, Trainer
from fedchain.wiring.bench import Bench
from fedchain.workflow.site import Site

ASKED_AT_ONCE: Final = 8
"""Sites that are asked on threads of their own, so that they wait for their disks at once."""

WORTH_A_POOL: Final = 10**10
"""Multiplications of a run from which on worker processes, which take seconds to start, are worth it."""


class JointTraining:
    """An engine, and the updates of the round that it trained last, until their sites fetch them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._base: FloatTensors = {}
        self._rounds: dict[str, LocalRound] = {}
        self._updates: Mapping[str, FloatTensors] = {}

    def train(self, base: FloatTensors, rounds: Mapping[str, LocalRound]) -> None:
        """Train the named sites from a base; what sites did not fetch before is forgotten."""
        self._rounds = {}
        self._updates = self._engine.train(base, rounds)
        self._base, self._rounds = base, dict(rounds)

    def fetch(self, name: str, base: FloatTensors, local: LocalRound) -> FloatTensors | None:
        """Return the update that was trained for a site from this base, the first time it is asked for, else None."""
        if self._rounds.get(name) != local or not _equal(base, self._base):
            return None
        del self._rounds[name]
        return self._updates[name]


@dataclass(frozen=True, slots=True)
class JointTrainer:
    """A site's trainer: what the engine trained for it, else what it trains by itself."""

    name: str
    joint: JointTraining
    own: Trainer

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """See `Trainer.train`."""
        update = self.joint.fetch(self.name, base, local)
        return self.own.train(base, local) if update is None else update


@dataclass(frozen=True, slots=True)
class JointCohort:
    """A cohort of which site i is node i + 1: before they are asked, all are charged and then trained together.

    A site that is None trains by itself.
    """

    cohort: Cohort
    sites: Sequence[Site | None]
    joint: JointTraining

    def train(
        self, task: Task, model: bytes, answered: frozenset[int], control: bytes = b""
    ) -> Iterator[Sequence[Reply]]:
        """See `Cohort.train`."""
        asked = [site for node, site in enumerate(self.sites, start=1) if site is not None and node not in answered]
        with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
            prepared = list(pool.map(lambda site: _prepared(site, task, model), asked))
        rounds = {site.name: local for site, local in zip(asked, prepared, strict=True) if local is not None}
        if rounds:
            self.joint.train(FixedPoint(task.fraction_bits, task.width).dequantise(decode(model)), rounds)
        return self.cohort.train(task, model, answered, control)

    def late(self) -> Iterator[Reply]:
        """See `Cohort.late`."""
        return self.cohort.late()

    def promise(self, node: int, promise: SignedPromise) -> None:
        """See `Cohort.promise`."""
        self.cohort.promise(node, promise)

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        """See `Cohort.countersign`."""
        return self.cohort.countersign(proofs)


@dataclass(frozen=True, slots=True)
class Training:
    """How the sites of a simulation are trained: jointly, or each by itself, and then `why` says what is in the way."""

    bench: Bench
    device: str
    joint: JointTraining | None
    why: str = ""
    populations: Mapping[str, PopulationTrainer] = field(default_factory=dict[str, PopulationTrainer])

    def trainer_of(self, partition: Partition) -> Trainer:
        """Return a site's trainer."""
        if partition.population is not None:
            return self.populations[partition.name]
        own = TorchTrainer(partition, makers=self.bench.makers, device=self.device)
        return own if self.joint is None else JointTrainer(partition.name, self.joint, own)

    def cohort_of(self, cohort: Cohort, sites: Sequence[Site]) -> Cohort:
        """Return the cohort that trains its sites so; site i is node i + 1."""
        if self.joint is None:
            return cohort
        return JointCohort(cohort, [None if each.name in self.populations else each for each in sites], self.joint)


@contextmanager
def opened_training(config: ExperimentConfig, bench: Bench, training: LocalTraining) -> Iterator[Training]:
    """Choose how sites are trained; an engine's workers live as long as the context.

    Raises:
        InputError: if the model cannot be made, or does not fit the rows or their labels.
    """
    with ExitStack() as stack:
        populations = _populations(stack, config, bench, training)
        alone = {each.name: each for each in bench.partitions if each.population is None}
        if config.simulation.engine == "sites" or config.device != CPU or not alone:  # the engine works on the CPU
            yield Training(bench, config.device, None, populations=populations)
            return
        engine = CohortEngine(alone, _workers(config, bench, training, tuple(alone.values())), makers=bench.makers)
        stack.callback(engine.close)
        why = engine.refusal(training)
        yield Training(bench, CPU, None if why else JointTraining(engine), why, populations)


def _populations(
    stack: ExitStack, config: ExperimentConfig, bench: Bench, training: LocalTraining
) -> dict[str, PopulationTrainer]:
    """Return the trainers of the populations; `stack` ends their workers."""
    found: dict[str, PopulationTrainer] = {}
    for each in bench.partitions:
        if each.population is not None:
            trainer = PopulationTrainer(each, _workers(config, bench, training, (each,)), bench.makers)
            stack.callback(trainer.close)
            why = trainer.refusal(training)
            if why:
                raise InputError(f"the clients of {each.name} are trained together by the engine", got=why)
            found[each.name] = trainer
    return found


def _workers(config: ExperimentConfig, bench: Bench, training: LocalTraining, trained: Sequence[Partition]) -> int:
    if not _loads(bench, training):
        return 1
    return config.simulation.workers or _workers_worth(bench, training, trained)


def _prepared(site: Site, task: Task, model: bytes) -> LocalRound | None:
    try:
        return site.prepare(task, model)
    except FedchainError:  # the site refuses: its answer to the task says why, and the others are trained
        return None


def _workers_worth(bench: Bench, training: LocalTraining, trained: Sequence[Partition]) -> int:
    clients = sum(_clients_of(each) for each in trained)
    rows = sum(len(each.train_y) * _clients_of(each) for each in trained)
    taken = training.updates * training.batch_size * clients or training.epochs * rows
    is_worth = products_of(training, trained[0], bench.makers) * taken * training.rounds >= WORTH_A_POOL
    # Torch has as many threads as there are processors, or the share that a job of a sweep was given.
    return min(torch.get_num_threads(), clients) if is_worth else 1


def _clients_of(partition: Partition) -> int:
    """Return how many clients of a partition a round trains; their rows are about as many as those it shows."""
    return 1 if partition.population is None else partition.population.roster.drawn


def _loads(bench: Bench, training: LocalTraining) -> bool:
    """Whether a worker can load the model: one of a notebook or of the running script cannot be had elsewhere."""
    target = training.model_options.get("target")
    return target is None or is_importable(target, bench.makers[target])


def _equal(one: FloatTensors, other: FloatTensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(each, other[name]) for name, each in one.items())
