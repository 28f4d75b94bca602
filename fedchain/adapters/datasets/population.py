"""Populations for a simulation: any number of clients behind one site, their rows asked for when they train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.own import checked
from fedchain.adapters.datasets.partition import Floats, Partition, Population
from fedchain.adapters.home import plain_name
from fedchain.adapters.targets import own_code
from fedchain.core.aggregation import MAX_TOTAL_WEIGHT
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import InputError
from fedchain.core.policy import DataPolicy
from fedchain.core.population import MOST_CLIENTS, Roster, RosterTree, roster_card

RowsOf = Callable[[int], tuple[npt.ArrayLike, npt.ArrayLike]]


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is registered: how many rows each client has (one number: all as many), how many a round draws.

    `commitments` are 32 bytes a client that commit its rows; None: the roster says nothing about them.
    """

    clients: int
    rows: int | Sequence[int]
    drawn: int
    commitments: Sequence[Digest] | None = None


def make_population(
    name: str,
    rows_of: RowsOf,
    policy: DataPolicy,
    roll: Roll,
    *,
    test: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
) -> Partition:
    """Return one simulated site that answers for many clients, of which each round draws some.

    Args:
        name: the site's.
        rows_of: returns rows (n, *shape) and labels (n,) of a client by its number, from 0 on; the same each time.
        policy: of all clients.
        roll: who is registered.
        test: rows and labels for the report of a simulation; None: nothing is evaluated.

    Raises:
        InputError: if the roll is out of range, or the first client's rows are not what it says.
    """
    sizes = _sizes(name, roll)
    tree = RosterTree(sizes, _committed(name, roll))
    roster = Roster(tree.root, roll.clients, roll.drawn, int(sizes.min()))
    own = replace(policy, dataset_name=f"{policy.dataset_name}: {name}")
    card = roster_card(own.dataset_name, roster, int(sizes.sum(dtype=np.int64)))
    population = Population(_Checked(name, rows_of, sizes), tree, roster)
    x, y = population.rows_of(0)
    test_x, test_y = (x[:0], y[:0]) if test is None else checked(f"{name}, test", *test)
    return Partition(plain_name(name), x, y, test_x, test_y, x[:0], y[:0], card, own, population)


@dataclass(frozen=True, slots=True, eq=False)
class _Checked:
    """Rows by client, refused where they are not as registered."""

    name: str
    rows_of: RowsOf
    sizes: npt.NDArray[np.int32]

    def __call__(self, client: int) -> tuple[Floats, Floats]:
        with own_code(f"what makes the rows of {self.name}"):
            rows, labels = self.rows_of(client)
        x, y = checked(f"{client} of {self.name}", rows, labels)
        if len(x) != self.sizes[client]:
            raise InputError(
                f"rows of client {client} of {self.name}", expected=f"{self.sizes[client]}, as registered", got=len(x)
            )
        return x, y


def _sizes(name: str, roll: Roll) -> npt.NDArray[np.int32]:
    if not 2 <= roll.clients <= MOST_CLIENTS or not 1 <= roll.drawn <= roll.clients:
        raise InputError(
            f"population {name}", expected=f"2 to {MOST_CLIENTS} clients, at least one of them drawn a round",
            got=f"{roll.drawn} of {roll.clients}",
        )  # fmt: skip
    sizes = np.asarray(roll.rows, np.int64)
    sizes = np.full(roll.clients, sizes) if sizes.ndim == 0 else sizes
    if sizes.shape != (roll.clients,) or int(sizes.min()) < 1 or int(sizes.sum()) > MAX_TOTAL_WEIGHT:
        raise InputError(
            f"rows of the clients of {name}", expected=f"{roll.clients} numbers from 1 on, {MAX_TOTAL_WEIGHT} in all",
            got=f"{sizes.size} numbers, {sizes.sum()} in all",
        )  # fmt: skip
    return sizes.astype(np.int32)


def _committed(name: str, roll: Roll) -> Sequence[Digest] | None:
    found = roll.commitments
    if found is not None and (len(found) != roll.clients or any(len(each) != DIGEST_SIZE for each in found)):
        raise InputError(f"commitments of {name}", expected=f"{roll.clients} of {DIGEST_SIZE} bytes", got=len(found))
    return found
