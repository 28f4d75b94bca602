"""A population's trainer: the clients that a round draws are trained together by the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from fedchain.adapters.datasets.partition import Partition, Population
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.modules import Makers
from fedchain.adapters.training.trainer import ONE_AT_A_TIME
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound

RESIDENT_BYTES: Final = 1 << 29
"""What the rows of all clients may take in float64 to be kept from round to round."""


class Clients(Mapping[str, Partition]):
    """The clients of a population by their number in decimal, each as a partition of its own."""

    def __init__(self, site: Partition, population: Population) -> None:
        self._site, self._population, self._count = site, population, population.roster.clients

    def __getitem__(self, name: str) -> Partition:
        x, y = self._population.rows_of(int(name))
        named = replace(self._site.card, name=f"{self._site.card.name}/{name}", nominal_size=len(y))
        return replace(self._site, name=name, train_x=x, train_y=y, card=named, population=None)

    def __iter__(self) -> Iterator[str]:
        return map(str, range(self._count))

    def __len__(self) -> int:
        return self._count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.isdecimal() and int(name) < self._count


class PopulationTrainer:
    """Trains the clients that a local round names, and stacks their updates in this order.

    Without privacy each trains as many batches as its rows make; with it, all take the charged steps at the charged
    rate.
    """

    def __init__(self, site: Partition, workers: int, makers: Makers) -> None:
        population = site.population
        if population is None:
            raise ValueError(f"{site.name} is no population")
        self._tree = population.tree
        clients = Clients(site, population)
        is_resident = is_small(site)
        self._engine = CohortEngine(clients, workers if is_resident else 1, makers=makers, is_resident=is_resident)

    def refusal(self, training: LocalTraining) -> str:
        """Return why the engine does not train so, in words; "" where it does."""
        return self._engine.refusal(training)

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """See `Trainer.train`."""
        if local.clients is None:
            raise InputError("training of a population", expected="the clients of a round", got="none")
        rounds = {str(client): self._round_of(client, local) for client in local.clients}
        with ONE_AT_A_TIME:
            return self._engine.train(base, rounds).stacked()

    def close(self) -> None:
        """End the engine's workers."""
        self._engine.close()

    def _round_of(self, client: int, local: LocalRound) -> LocalRound:
        training = local.training
        if local.release.is_protected:
            return replace(local, clients=None)
        rows = self._tree.rows(client)
        batches = batches_per_epoch(rows, training.batch_size)
        release = Release(0, batches, training.steps(batches))
        return replace(local, clients=None, release=release, nominal_size=rows)


def is_small(site: Partition) -> bool:
    """Tell whether the rows of all clients fit into memory together."""
    a_row = site.train_x[:1].size * 8
    return site.card.nominal_size * a_row <= RESIDENT_BYTES
