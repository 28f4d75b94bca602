"""Data of the experimenter's own: arrays or a CSV file, one partition a client, under a policy that the owner declares.

What cannot be trained on is refused before anything runs: a value that is no finite number, a client without rows, rows
of different shapes. A fifth of each client's rows is held out for the report of a simulation; which rows, is a
function of the seed and of the client's name.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.partition import Floats, Partition
from fedchain.adapters.datasets.partitioners import Partitioner
from fedchain.adapters.files import explained
from fedchain.adapters.home import plain_name
from fedchain.core import document
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.policy import DataPolicy, DatasetCard, GrantKind
from fedchain.core.privacy import MICRO

HELD_OUT: Final = 0.2
_DROP: Final = "drop such rows, or fill them in, before they are brought"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a CSV file are what: the label, the client (None: `partitioner` decides), and those left out."""

    label: str
    client: str | None = None
    ignored: tuple[str, ...] = ()


def sandbox(name: str, source: str, *, epsilon: float = 10.0, delta: float = 1e-5) -> DataPolicy:
    """Return the policy of data that is public or synthetic: each run may spend `epsilon`, or train without privacy.

    Only the owner of the data can declare that. Data of people need a lifetime grant: `DataPolicy`, or its document.
    """
    return DataPolicy(name, source, GrantKind.SANDBOX, round(epsilon * MICRO), round(delta * 1e12), "example", True)


def read_policy(path: Path) -> DataPolicy:
    """Return the policy that a data set's owner wrote down, a JSON document.

    Raises:
        PolicyError: if there is none: without its owner's grant nothing is trained on a data set.
        InputError: if it is no policy.
    """
    if not path.exists():
        raise PolicyError(
            "the data have no policy", expected=f"their owner's grant in {path}", got="no such file",
            remedy="docs/first-model.md shows one",
        )  # fmt: skip
    with explained(path):
        return document.from_bytes(DataPolicy, path.read_bytes().rstrip(b"\n"))


def make_partition(
    name: str, rows: npt.ArrayLike, labels: npt.ArrayLike, policy: DataPolicy, *, seed: int = 0
) -> Partition:
    """Return one client's part of the data: rows (n, *shape), labels (n,), a fifth of them held out.

    Raises:
        InputError: if there is no row to train on, a value is not finite, or labels and rows do not match.
    """
    x, y = checked(name, rows, labels)
    words = np.random.Philox(key=np.frombuffer(tagged("held-out", f"{seed}/{name}".encode())[:16], "<u8"))
    order = np.argsort(words.random_raw(len(x)), kind="stable")
    count = min(math.floor(HELD_OUT * len(x)), len(x) - 1)
    test, train = np.sort(order[:count]), np.sort(order[count:])
    own = replace(policy, dataset_name=f"{policy.dataset_name}: {name}")
    digests = {"rows": _sha256(x), "labels": _sha256(y)}
    card = DatasetCard(own.dataset_name, digests, int(train.size))
    nothing = np.empty(0, np.intp)
    return Partition(plain_name(name), x[train], y[train], x[test], y[test], x[nothing], y[nothing], card, own)


def split_arrays(
    rows: npt.ArrayLike, labels: npt.ArrayLike, policy: DataPolicy, partitioner: Partitioner, *, seed: int = 0
) -> tuple[Partition, ...]:
    """Return partitions client1, client2, ... of arrays, as a partitioner cuts them.

    Raises:
        InputError: as `make_partition`.
    """
    x, y = checked("the data", rows, labels)
    parts = partitioner(y, seed)
    return tuple(make_partition(f"client{n}", x[part], y[part], policy, seed=seed) for n, part in enumerate(parts, 1))


def read_csv(
    path: Path | str, columns: Columns, policy: DataPolicy, partitioner: Partitioner | None = None, *, seed: int = 0
) -> tuple[Partition, ...]:
    """Return the partitions of a CSV file with a header: one a value of the client's column, or as a partitioner cuts.

    Raises:
        InputError: if the file cannot be read, a column is missing, or a value is no finite number.
    """
    table = _table(Path(path))
    named = [columns.label, *([columns.client] if columns.client else []), *columns.ignored]
    missing = [name for name in named if name not in table]
    if missing:
        raise InputError(f"{path} has no column {missing[0]}", expected=f"one of {', '.join(table)[:200]}")
    if (columns.client is None) == (partitioner is None):
        raise InputError("clients of a CSV file", expected="a client column or a partitioner", got="both or none")
    features = [_numbers(path, name, table[name]) for name in table if name not in named]
    if not features:
        raise InputError(f"{path}", expected="at least one column beside label and client", got="none")
    x, y = np.stack(features, axis=1), _numbers(path, columns.label, table[columns.label])
    if partitioner is not None:
        return split_arrays(x, y, policy, partitioner, seed=seed)
    clients = np.array(table[columns.client or ""])
    return tuple(
        make_partition(_plain(name), x[clients == name], y[clients == name], policy, seed=seed)
        for name in sorted(set(clients.tolist()))
    )


def partitions_of(target: str, made: object) -> tuple[Partition, ...]:
    """Return what a data function gave, checked as a whole.

    Raises:
        InputError: if it is no sequence of partitions, two have one name or other shapes, or one has no rows or a value
            that is no finite number.
    """
    parts = tuple(made) if isinstance(made, Sequence) else ()
    if not parts or not all(isinstance(each, Partition) for each in parts):
        raise InputError(
            f"data of {target}", expected="a list of fedchain's partitions, one a client", got=type(made).__name__,
            remedy="make each with fedchain.make_partition, or all of them with fedchain.read_csv",
        )  # fmt: skip
    names = [each.name for each in parts]
    if len(set(names)) < len(names):
        raise InputError(f"data of {target}", expected="one partition a client", got=f"names {', '.join(names)[:200]}")
    for each in parts:  # a partition may have been made by hand
        _check_rows(each.name, each.train_x, each.train_y)
    odd = next((each for each in parts if each.inputs != parts[0].inputs), None)
    if odd is not None:
        raise InputError(
            f"rows of client {odd.name}", expected=f"the shape {parts[0].inputs} of {names[0]}", got=odd.inputs
        )
    return parts


def checked(name: str, rows: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return rows and labels as float32.

    Raises:
        InputError: if there are none, they do not match, or one is not finite.
    """
    x, y = _floats(f"rows of client {name}", rows), _floats(f"labels of client {name}", labels)
    _check_rows(name, x, y)
    return x, y


def _check_rows(name: str, x: Floats, y: Floats) -> None:
    if len(x) == 0:
        raise InputError(
            f"client {name} has no rows", expected="at least one to train on", got=0,
            remedy="leave it out, take fewer clients, or cut the data more evenly (a larger alpha)",
        )  # fmt: skip
    if x.ndim < 2 or y.shape != x.shape[:1]:
        raise InputError(
            f"data of client {name}", expected="rows (n, features) and labels (n,)", got=f"{x.shape} and {y.shape}"
        )
    for what, array in (("row", x), ("label of row", y)):
        bad = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))
        if bad.size:
            got = f"{bad.size} with NaN or infinity, the first is {int(bad[0])}"
            raise InputError(f"{what}s of client {name}", expected="finite numbers", got=got, remedy=_DROP)


def _floats(what: str, values: npt.ArrayLike) -> Floats:
    try:
        array: npt.NDArray[Any] = np.asarray(values)
        with np.errstate(over="ignore"):  # infinity is refused below
            return np.ascontiguousarray(array.astype(np.float32))
    except (TypeError, ValueError) as error:
        raise InputError(what, expected="an array of numbers", got=str(error)[:120]) from error


def _table(path: Path) -> dict[str, list[str]]:
    with explained(path):
        text = path.read_text(encoding="utf-8-sig")
    header, *lines = list(csv.reader(text.splitlines())) or [[]]
    names = [name.strip() for name in header]
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"{path}, line 1", expected="a header with one name a column", got=", ".join(header)[:80])
    rows = [line for line in lines if line]
    for number, line in enumerate(lines, start=2):
        if line and len(line) != len(names):
            raise InputError(f"{path}, line {number}", expected=f"{len(names)} values", got=len(line))
    return {name: [row[place].strip() for row in rows] for place, name in enumerate(names)}


def _numbers(path: Path | str, name: str, texts: Sequence[str]) -> npt.NDArray[np.float64]:
    values = np.empty(len(texts))
    for place, text in enumerate(texts):
        try:
            values[place] = float(text)
        except ValueError:
            values[place] = math.nan
        if not math.isfinite(values[place]):
            raise InputError(
                f"{path}, row {place + 1}, column {name}", expected="a finite number", got=repr(text)[:40], remedy=_DROP
            )
    return values


def _plain(name: str) -> str:
    """A client's name as a home can hold it."""
    return plain_name("".join(each if each.isascii() and each.isalnum() else "-" for each in name.lower()).strip("-"))


def _sha256(array: Floats) -> str:
    return hashlib.sha256(repr(array.shape).encode() + array.astype("<f4").tobytes()).hexdigest()
