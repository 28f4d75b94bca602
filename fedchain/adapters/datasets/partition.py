"""One site's part of a data set: rows for training, held-out rows, and what the site declares about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.core.policy import DataPolicy, DatasetCard
from fedchain.core.population import Roster, RosterTree

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Population:
    """The clients 0, 1, ... that a simulated site answers for: their rows by number, and where they are registered."""

    rows_of: Callable[[int], tuple[Floats, Floats]]
    tree: RosterTree
    roster: Roster


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows (n, *shape) and labels (n,) of one site: 0 and 1, classes, or numbers wanted.

    Held-out rows serve evaluation in simulation only.

    Donated rows are for validation by others: the site does not train on them, and a run with rewards stores them in
    plain. Most sites donate none.

    `card.nominal_size` is the registered number of training rows: public, while len(train_x) is not.

    Of a population, training rows are those of its first client, which say what shape they have; the others are asked
    for when their client trains, and the nominal size is that of all.
    """

    name: str
    train_x: Floats
    train_y: Floats
    test_x: Floats
    test_y: Floats
    donated_x: Floats
    donated_y: Floats
    card: DatasetCard
    policy: DataPolicy
    population: Population | None = None

    @property
    def trained_rows(self) -> int:
        """The rows that batches are counted by: of a population those of its smallest client."""
        return self.card.nominal_size if self.population is None else self.population.roster.least_rows

    @property
    def features(self) -> int:
        """The number of features of a flat row."""
        return int(self.train_x.shape[1])

    @property
    def inputs(self) -> str:
        """The shape of a row as the record has it: "13", or "9x128"."""
        return "x".join(str(size) for size in self.train_x.shape[1:])
