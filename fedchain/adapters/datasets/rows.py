"""The rows of a Flower app's own loader: how many they are, and which, whatever they are made of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch

from fedchain.core.errors import InputError
from fedchain.core.policy import DatasetCard

_SCALARS: Final = (bool, int, float, str, type(None))


def card_of(name: str, loaded: object) -> DatasetCard:
    """Return the card of what a loader goes through: its rows' number and one digest over all of them, in order.

    `loaded` is a sequence of rows, or a loader that has one as its `dataset`, as torch's DataLoader does. A row may
    hold arrays, tensors, numbers, text and None, in mappings and sequences. Random transformations would give other
    rows each time.

    Raises:
        InputError: if there is no row, or one holds something else.
    """
    rows: Any = getattr(loaded, "dataset", loaded)
    if not (hasattr(rows, "__len__") and hasattr(rows, "__getitem__")) or len(rows) == 0:
        raise InputError(
            f"the rows of {name}", expected="a loader, a dataset or a sequence with at least one row",
            got=f"{type(rows).__name__}{' of length 0' if hasattr(rows, '__len__') else ''}",
        )  # fmt: skip
    digest = hashlib.sha256()
    for place in range(len(rows)):
        for part in _parts(rows[place]):
            digest.update(len(part).to_bytes(8, "big") + part)
    return DatasetCard(name, {"rows": digest.hexdigest()}, len(rows))


def _parts(value: Any) -> Iterator[bytes]:  # noqa: ANN401  # whatever a dataset holds
    match value:
        case torch.Tensor():
            yield from _parts(value.detach().cpu().numpy())
        case np.ndarray() | np.generic() if value.dtype.kind in "biufc":
            little = np.ascontiguousarray(value, value.dtype.newbyteorder("<"))
            yield f"{little.dtype.str} {value.shape}".encode()
            yield little.tobytes()
        case bytes():
            yield b"bytes"
            yield value
        case _ if isinstance(value, _SCALARS):
            yield f"{type(value).__name__} {value!r}".encode()
        case Mapping():
            yield f"mapping {len(value)}".encode()
            for key in sorted(value, key=str):
                yield str(key).encode()
                yield from _parts(value[key])
        case Sequence():
            yield f"sequence {len(value)}".encode()
            for each in value:
                yield from _parts(each)
        case _:
            raise InputError(
                "a row", expected="arrays, tensors, numbers, text, or mappings and sequences of them",
                got=type(value).__name__, remedy="give the rows before they are transformed",
            )  # fmt: skip
