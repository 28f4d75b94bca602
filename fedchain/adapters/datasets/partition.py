"""One site's part of a data set: rows for training, held-out rows, and what the site declares about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.core.policy import DataPolicy, DatasetCard

Floats: TypeAlias = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows (n, features) and labels (n,) in {0, 1} of one site; held-out rows serve evaluation in simulation only.

    Donated rows are for validation by others: the site does not train on them, and a run with rewards stores them in
    plain. Most sites donate none.

    `card.nominal_size` is the registered number of training rows: public, while len(train_x) is not.
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

    @property
    def features(self) -> int:
        """The number of features of a row."""
        return int(self.train_x.shape[1])
