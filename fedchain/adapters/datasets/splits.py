"""Train and test rows by FLamby's rule: two thirds to train, shuffled, stratified where each class has three rows.

FLamby (du Terrail et al., NeurIPS 2022) calls scikit-learn's `train_test_split(train_size=0.66, test_size=1-0.66,
random_state=43, stratify=labels or None)` for each hospital. The same draws are made here without scikit-learn, from
numpy's frozen legacy generator, so that the sets are FLamby's to the row; a test holds them against its recorded rows.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

Rows: TypeAlias = npt.NDArray[np.intp]
Labels: TypeAlias = npt.NDArray[np.bool_]

FLAMBY_SEED: Final = 43
MAX_SEED: Final = 2**32 - 1
_TRAIN: Final = 0.66
_TEST: Final = 1.0 - _TRAIN
_LEAST_TO_STRATIFY: Final = 3
_DONATED: Final = 10
"""One row in so many."""


def train_and_test(positive: Labels, seed: int) -> tuple[Rows, Rows]:
    """Return the indices of the training and of the test rows, each ascending.

    Args:
        positive: whether a row is of the positive class, (n,).
        seed: of the shuffle, 0..2^32 - 1; `FLAMBY_SEED` gives FLamby's split.
    """
    # MT19937's stream and RandomState's methods are frozen by numpy (NEP 19); Generator's methods are not.
    draws = np.random.RandomState(seed)
    count = positive.size
    train_size, test_size = math.floor(_TRAIN * count), math.ceil(_TEST * count)
    classes = [np.flatnonzero(~positive), np.flatnonzero(positive)]
    if min(each.size for each in classes) < _LEAST_TO_STRATIFY:
        test = draws.permutation(count)[:test_size]
    else:
        test = _stratified(classes, train_size, test_size, draws)
    is_test = np.zeros(count, np.bool_)
    is_test[test] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def donated(positive: Labels) -> Rows:
    """Return the places of the rows that are donated: a tenth of each class, evenly spread, ascending.

    The rule has no seed: of n rows of a class, round(n / 10) are taken (half up), the k-th in the middle of the k-th
    of as many equal stretches.

    Args:
        positive: whether a training row is of the positive class, (n,), in the order of the file.
    """
    places: list[Rows] = []
    for rows in (np.flatnonzero(~positive), np.flatnonzero(positive)):
        count = (rows.size + _DONATED // 2) // _DONATED
        stretches = 2 * np.arange(count, dtype=np.intp) + 1
        places.append(rows[stretches * rows.size // max(2 * count, 1)])
    return np.sort(np.concatenate(places))


def _stratified(classes: list[Rows], train_size: int, test_size: int, draws: np.random.RandomState) -> Rows:
    counts = np.array([each.size for each in classes])
    train_counts = _apportion(counts, train_size, draws)
    test_counts = _apportion(counts - train_counts, test_size, draws)
    parts: list[Rows] = []
    for rows, train, test in zip(classes, train_counts, test_counts, strict=True):
        shuffled = rows[draws.permutation(rows.size)]
        parts.append(shuffled[train : train + test])
    return np.concatenate(parts)


def _apportion(counts: Rows, size: int, draws: np.random.RandomState) -> Rows:
    """Return whole numbers near size * counts / sum(counts) with that sum; ties are drawn."""
    exact = counts / counts.sum() * size
    whole = np.floor(exact)
    missing = size - int(whole.sum())
    for remainder in np.unique(exact - whole)[::-1]:
        if missing <= 0:
            break
        tied = np.flatnonzero(exact - whole == remainder)
        chosen = draws.choice(tied, size=min(tied.size, missing), replace=False)
        whole[chosen] += 1
        missing -= chosen.size
    apportioned: Rows = whole.astype(np.intp)
    return apportioned
