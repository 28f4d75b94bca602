"""Ways to cut one data set over clients: evenly, with skewed labels, by shards. By site is a column of the data.

`dirichlet` is Hsu et al. 2019 (arXiv:1909.06335): each client's mix of labels is drawn from a Dirichlet distribution;
`shards` is McMahan et al. 2017: rows sorted by label, cut into shards, some to each client. Every cut is a function of
labels and seed, drawn from numpy's frozen legacy generator.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.partition import Floats
from fedchain.core.errors import InputError

Rows: TypeAlias = npt.NDArray[np.intp]
Partitioner: TypeAlias = Callable[[Floats, int], list[Rows]]
"""From labels (n,) and a seed to the places of each client's rows, ascending."""


def evenly(clients: int) -> Partitioner:
    """Cut shuffled rows into parts of nearly one size."""
    _at_least_one("clients", clients)

    def cut(labels: Floats, seed: int) -> list[Rows]:
        order = np.random.RandomState(seed).permutation(len(labels))  # frozen by numpy (NEP 19)
        return [np.sort(part) for part in np.array_split(order, clients)]

    return cut


def dirichlet(clients: int, alpha: float) -> Partitioner:
    """Share out the rows of each label by a draw from Dirichlet(alpha): the smaller alpha, the more skewed.

    Raises:
        InputError: if alpha is not positive; a client may still get no row, which is refused where it is used.
    """
    _at_least_one("clients", clients)
    if not alpha > 0:
        raise InputError("alpha of a Dirichlet partition", expected="a positive number", got=alpha)

    def cut(labels: Floats, seed: int) -> list[Rows]:
        draws = np.random.RandomState(seed)
        parts: list[list[Rows]] = [[] for _ in range(clients)]
        for label in np.unique(labels):
            rows = draws.permutation(np.flatnonzero(labels == label))
            ends = np.rint(np.cumsum(draws.dirichlet(np.full(clients, alpha))) * len(rows)).astype(np.intp)
            for part, some in zip(parts, np.split(rows, ends[:-1]), strict=True):
                part.append(some)
        return [np.sort(np.concatenate(part)) for part in parts]

    return cut


def shards(clients: int, per_client: int = 2) -> Partitioner:
    """Sort rows by label, cut them into clients * per_client shards, and give each client so many at random."""
    _at_least_one("clients", clients)
    _at_least_one("shards of a client", per_client)

    def cut(labels: Floats, seed: int) -> list[Rows]:
        pieces = np.array_split(np.argsort(labels, kind="stable"), clients * per_client)
        order = np.random.RandomState(seed).permutation(len(pieces)).reshape(clients, per_client)
        return [np.sort(np.concatenate([pieces[place] for place in mine])) for mine in order]

    return cut


def _at_least_one(what: str, count: int) -> None:
    if count < 1:
        raise InputError(what, expected="at least 1", got=count)
