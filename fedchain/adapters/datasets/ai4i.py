"""AI4I 2020 predictive maintenance (Matzka 2020): SYNTHETIC rows of a milling machine, 339 failures in 10,000.

Plants are the three product lines (quality L, M and H: 6,000, 2,997 and 1,003 rows). Identifiers and the type of
failure are left out; what is measured is scaled by fixed ranges, never by statistics of the data. Failures are rare, so
accuracy says nothing: rank the rows (AUROC, AUPRC). Attribution lies beside the file.
"""

from __future__ import annotations

import csv
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from fedchain.adapters.datasets.own import sandbox
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.splits import train_and_test
from fedchain.adapters.files import explained
from fedchain.core.errors import InputError
from fedchain.core.policy import DatasetCard

FILE: Final = Path(__file__).with_name("ai4i_2020") / "predictive_maintenance.csv"
SHA256: Final = "9f0ede0b6fc33edacccfa1924e6430f92bd33ecce6e895543cd228c3a55ff10b"
LINES: Final = ("L", "M", "H")
RANGES: Final = {
    "Air temperature [K]": (295.0, 305.0),
    "Process temperature [K]": (305.0, 314.0),
    "Rotational speed [rpm]": (1160.0, 2200.0),
    "Torque [Nm]": (0.0, 80.0),
    "Tool wear [min]": (0.0, 250.0),
}
"""Round figures around what the machine is simulated to do; what lies outside is not clipped."""


def load(seed: int = 0) -> tuple[Partition, ...]:
    """Return one partition a product line; a third of its rows, stratified, is held out by the seed.

    Raises:
        InputError: if the file is missing or altered.
    """
    with explained(FILE):
        data = FILE.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256:
        raise InputError(f"data file {FILE}", expected=f"sha256 {SHA256}", got=digest, remedy="install fedchain again")
    rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    return tuple(_line(name, [row for row in rows if row["Type"] == name], seed) for name in LINES)


def _line(name: str, rows: list[dict[str, str]], seed: int) -> Partition:
    columns = [
        (2 * np.array([float(row[column]) for row in rows]) - low - high) / (high - low)
        for column, (low, high) in RANGES.items()
    ]
    x = np.stack(columns, axis=1).astype(np.float32)
    y = np.array([row["Target"] == "1" for row in rows])
    train, test = train_and_test(y, seed)
    labels, nothing = y.astype(np.float32), np.empty(0, np.intp)
    policy = replace(
        sandbox("ai4i-2020", "SYNTHETIC: AI4I 2020, UCI (CC BY 4.0), S. Matzka"), dataset_name=f"ai4i-2020-{name}"
    )
    card = DatasetCard(policy.dataset_name, {FILE.name: SHA256}, int(train.size))
    return Partition(
        f"line-{name.lower()}",
        x[train],
        labels[train],
        x[test],
        labels[test],
        x[nothing],
        labels[nothing],
        card,
        policy,
    )
