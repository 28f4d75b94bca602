"""UCI Heart Disease: four hospitals, angiographic disease or none (Detrano et al. 1989; attribution beside the files).

Row rule and split are those of FLamby's Fed-Heart-Disease (du Terrail et al., NeurIPS 2022): the columns slope, ca and
thal are dropped, then every row with a missing value, which leaves 303, 261, 46 and 130 rows. Chest pain and resting
ECG become indicators without their first level: 13 features. (FLamby's later code ends with 16, since its reader keeps
one hospital's ECG codes as text; here codes are numbers.)

Rows are scaled by fixed, published clinical ranges, never by statistics of the data, which would leak: a range maps to
-1..1 and what lies outside is clipped. Cholesterol and blood pressure of 0 mean "not measured" (all Swiss cholesterol)
and become the middle of the range.

A tenth of each hospital's training rows is donated for validation, whether a run uses it or not: what a hospital
trains on, its registered size and its privacy account do not change with an experiment's choice.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.adapters.datasets.partition import Floats, Partition
from fedchain.adapters.datasets.splits import FLAMBY_SEED, MAX_SEED, donated, train_and_test
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.core.policy import DataPolicy, DatasetCard

HOSPITALS: Final = ("cleveland", "hungarian", "switzerland", "va")
FOLDER: Final = Path(__file__).with_name("heart")

_COLUMNS: Final = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak")
_FILE_COLUMNS: Final = 14
_LABEL: Final = 13
_MISSING: Final = "?"
_RESPLIT: Final = "resplit-"
_RESTORE: Final = "restore the original file, or leave data.directory empty to use the one that comes with fedchain"


@dataclass(frozen=True, slots=True)
class ClinicalRange:
    """A published range of a measurement, in `unit`; `zero_is_missing` where 0 cannot be a reading."""

    low: float
    high: float
    unit: str
    source: str
    zero_is_missing: bool = False

    def scale(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map the range to -1..1, clip what is outside, put missing readings in the middle."""
        scaled = np.clip((2 * values - self.low - self.high) / (self.high - self.low), -1.0, 1.0)
        return np.where(values == 0, 0.0, scaled) if self.zero_is_missing else scaled


_YES_OR_NO: Final = ClinicalRange(0, 1, "0 or 1", "heart-disease.names (UCI)")
RANGES: Final = {
    "age": ClinicalRange(20, 80, "years", "ages 20-79 of the pooled cohort equations, ACC/AHA 2013"),
    "sex": _YES_OR_NO,
    "trestbps": ClinicalRange(90, 180, "mm Hg", "90 ends hypotension, 180 begins a crisis, ACC/AHA 2017", True),
    "chol": ClinicalRange(100, 300, "mg/dl", "100 around the 200 that ends desirable, NCEP ATP III 2002", True),
    "fbs": _YES_OR_NO,
    "thalach": ClinicalRange(60, 220, "beats/min", "60 ends bradycardia, 220 tops 220 - age, Fox et al. 1971"),
    "exang": _YES_OR_NO,
    "oldpeak": ClinicalRange(0, 4, "mm", "none to four times a positive test's 1 mm, ACC/AHA 2002"),
}
"""Scaled features, in FLamby's order; the indicators follow."""

INDICATORS: Final = (("cp", 2), ("cp", 3), ("cp", 4), ("restecg", 1), ("restecg", 2))
FEATURES: Final = (*RANGES, *(f"{column}={level}" for column, level in INDICATORS))


def load_heart(directory: Path | None = None, split: str = "flamby") -> tuple[Partition, ...]:
    """Return one partition a hospital, in the order of `HOSPITALS`.

    Args:
        directory: where the four data files lie; None for those that come with fedchain. Their digests and the
            owners' policies are always those of fedchain.
        split: "flamby", or "resplit-N" for the same rule with the seed N in 0..2^32 - 1.

    Raises:
        InputError: if a file is missing or altered, or the split has no such name; before any row is used.
    """
    seed = _seed(split)
    digests = _manifest()
    files = {name: _verified(directory or FOLDER, f"processed.{name}.data", digests) for name in HOSPITALS}
    return tuple(_partition(name, data, digests, seed) for name, data in files.items())


def load_flamby() -> tuple[Partition, ...]:
    """Return the hospitals as FLamby's benchmark trains on them: each scaled to mean 0 and deviation 1 of its own rows.

    Such statistics are data: without privacy only. No row is donated; a column that does not vary is left at 0.

    Raises:
        InputError: if a file is missing or altered.
    """
    digests = _manifest()
    files = {name: _verified(FOLDER, f"processed.{name}.data", digests) for name in HOSPITALS}
    return tuple(_standardised(name, data, digests) for name, data in files.items())


def _standardised(name: str, data: bytes, digests: dict[str, str]) -> Partition:
    rows = parse(data, f"processed.{name}.data")
    columns = {column: rows[:, index] for index, column in enumerate(_COLUMNS)}
    raw = np.stack(
        [*(columns[each] for each in RANGES), *(columns[each] == level for each, level in INDICATORS)], axis=1
    )
    positive = rows[:, -1] > 0
    train, test = train_and_test(positive, FLAMBY_SEED)
    deviation = raw[train].std(axis=0, ddof=1)
    scaled = (raw - raw[train].mean(axis=0)) / np.where(deviation == 0, 1.0, deviation)
    x, y, none = scaled.astype(np.float32), positive.astype(np.float32), np.empty(0, np.intp)
    policy = document.from_bytes(DataPolicy, (FOLDER / "policies" / f"{name}.json").read_bytes())
    file = f"processed.{name}.data"
    card = DatasetCard(policy.dataset_name, {file: digests[file]}, int(train.size))
    return Partition(name, x[train], y[train], x[test], y[test], x[none], y[none], card, policy)


def parse(data: bytes, name: str) -> npt.NDArray[np.float64]:
    """Return the complete rows of a file by FLamby's rule: ten measurements and the diagnosis, (rows, 11).

    Raises:
        InputError: if a row has not 14 columns, a value is no finite number, or a diagnosis is missing.
    """
    rows: list[list[float]] = []
    for number, line in enumerate(data.decode("ascii", "replace").splitlines(), start=1):
        values = [text.strip() for text in line.split(",")]
        place = f"{name}, line {number}"
        if len(values) != _FILE_COLUMNS:
            raise InputError(place, expected=f"{_FILE_COLUMNS} columns", got=len(values), remedy=_RESTORE)
        if values[_LABEL] == _MISSING:
            raise InputError(place, expected="a diagnosis in column 14", got=_MISSING, remedy=_RESTORE)
        kept = [*values[: len(_COLUMNS)], values[_LABEL]]
        numbers = [_number(text, place) for text in kept if text != _MISSING]
        if len(numbers) == len(kept):
            rows.append(numbers)
    return np.array(rows, np.float64).reshape(-1, len(_COLUMNS) + 1)


def _number(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(place, expected="a number or '?'", got=repr(text[:20]), remedy=_RESTORE)
    return value


def _features(rows: npt.NDArray[np.float64]) -> Floats:
    columns = {name: rows[:, index] for index, name in enumerate(_COLUMNS)}
    scaled = [RANGES[name].scale(columns[name]) for name in RANGES]
    indicators = [np.where(columns[name] == level, 1.0, 0.0) for name, level in INDICATORS]
    return np.stack([*scaled, *indicators], axis=1).astype(np.float32)


def _partition(name: str, data: bytes, digests: dict[str, str], seed: int) -> Partition:
    rows = parse(data, f"processed.{name}.data")
    features, positive = _features(rows), rows[:, -1] > 0
    rest, test = train_and_test(positive, seed)
    given = rest[donated(positive[rest])]
    train = np.setdiff1d(rest, given, assume_unique=True)
    labels = positive.astype(np.float32)
    policy = document.from_bytes(DataPolicy, (FOLDER / "policies" / f"{name}.json").read_bytes())
    file = f"processed.{name}.data"
    card = DatasetCard(policy.dataset_name, {file: digests[file]}, int(train.size))
    return Partition(
        name, features[train], labels[train], features[test], labels[test], features[given], labels[given], card, policy
    )


def _manifest() -> dict[str, str]:
    """Return the sha256 of each data file, by name, as recorded when the files were vendored."""
    manifest: dict[str, dict[str, str]] = json.loads((FOLDER / "manifest.json").read_bytes())
    return manifest["sha256"]


def _verified(directory: Path, file: str, digests: dict[str, str]) -> bytes:
    path = directory / file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"data file {path}", expected="a readable file", got=error.strerror, remedy=_RESTORE
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != digests[file]:
        raise InputError(f"data file {path}", expected=f"sha256 {digests[file]}", got=digest, remedy=_RESTORE)
    return data


def _seed(split: str) -> int:
    if split == "flamby":
        return FLAMBY_SEED
    text = split.removeprefix(_RESPLIT)
    if split.startswith(_RESPLIT) and text.isascii() and text.isdecimal() and len(text) <= 10 and int(text) <= MAX_SEED:
        return int(text)
    raise InputError(
        "data.split", expected=f"flamby, or resplit-N with N in 0..{MAX_SEED}", got=split[:40], remedy="choose one"
    )
