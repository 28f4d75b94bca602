"""The order in which plain SGD takes the rows: from Philox's raw words, which numpy freezes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fedchain.core.digest import tagged


def shuffles(label: str, rows: int, epochs: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield an order of range(rows) for each epoch, a function of the label."""
    words = np.random.Philox(key=np.frombuffer(tagged("batch-order", label.encode())[:16], "<u8"))
    for _ in range(epochs):
        yield np.argsort(words.random_raw(rows), kind="stable")
