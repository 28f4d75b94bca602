"""The four hospitals: FLamby's rows, split and features, published ranges, and refusal of altered files."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.datasets.heart import FEATURES, FOLDER, HOSPITALS, RANGES, ClinicalRange, load_heart, parse
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.splits import donated, train_and_test
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.core.policy import DataPolicy, GrantKind

RECORDED = json.loads((Path(__file__).parent / "flamby_split.json").read_bytes())["test_rows_by_seed"]
GOOD_LINE = b"63,1,1,145,233,1,2,150,0,2.3,3,0,6,0\n"


@pytest.fixture(scope="module")
def partitions() -> tuple[Partition, ...]:
    return load_heart()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in HOSPITALS:
        shutil.copy(FOLDER / f"processed.{name}.data", tmp_path)
    return tmp_path


def rows_of(name: str) -> npt.NDArray[np.float64]:
    return parse((FOLDER / f"processed.{name}.data").read_bytes(), name)


def test_flambys_row_rule_leaves_303_261_46_and_130_rows() -> None:
    assert [len(rows_of(name)) for name in HOSPITALS] == [303, 261, 46, 130]


def test_training_and_test_rows_have_flambys_numbers(partitions: tuple[Partition, ...]) -> None:
    sizes = [(each.name, len(each.train_x) + len(each.donated_x), len(each.test_x)) for each in partitions]
    assert sizes == [("cleveland", 199, 104), ("hungarian", 172, 89), ("switzerland", 30, 16), ("va", 85, 45)]


@pytest.mark.parametrize("seed", sorted(RECORDED))
@pytest.mark.parametrize("name", HOSPITALS)
def test_the_split_is_scikit_learns_to_the_row(name: str, seed: str) -> None:
    train, test = train_and_test(rows_of(name)[:, -1] > 0, int(seed))
    assert test.tolist() == RECORDED[seed][name]
    assert sorted([*train, *test]) == list(range(len(rows_of(name))))


def test_flambys_split_has_seed_43() -> None:
    for flamby, resplit in zip(load_heart(split="flamby"), load_heart(split="resplit-43"), strict=True):
        np.testing.assert_array_equal(flamby.train_x, resplit.train_x)
        np.testing.assert_array_equal(flamby.test_y, resplit.test_y)


def test_a_stratified_tenth_of_the_training_rows_is_donated(partitions: tuple[Partition, ...]) -> None:
    given = {each.name: (len(each.train_y), len(each.donated_y), int(each.donated_y.sum())) for each in partitions}
    assert given == {
        "cleveland": (179, 20, 9), "hungarian": (154, 18, 7), "switzerland": (27, 3, 3), "va": (76, 9, 7),
    }  # fmt: skip
    assert [each.card.nominal_size for each in partitions] == [179, 154, 27, 76]


@given(classes=st.lists(st.booleans(), max_size=200))
def test_the_donated_rows_are_a_tenth_of_each_class_whatever_the_seed_of_the_run(classes: list[bool]) -> None:
    positive = np.array(classes, np.bool_)
    places = donated(positive)
    assert places.tolist() == sorted(set(places.tolist()))
    for label in (True, False):
        rows = np.flatnonzero(positive == label)
        chosen = [place for place in places.tolist() if positive[place] == label]
        assert len(chosen) == (len(rows) + 5) // 10
        gaps = np.diff(np.searchsorted(rows, chosen))
        assert not gaps.size or gaps.max() - gaps.min() <= 1


@given(seed=st.integers(0, 2**32 - 1))
def test_every_resplit_is_stratified_and_keeps_the_registered_sizes(seed: int) -> None:
    rows = rows_of("va")[:, -1] > 0
    train, test = train_and_test(rows, seed)
    assert (len(train), len(test)) == (85, 45)
    assert (rows[train].sum(), rows[test].sum()) == (66, 35)
    assert not set(train) & set(test)


def test_resplits_repeat_and_differ() -> None:
    first, again, other = (load_heart(split=split)[0] for split in ("resplit-1", "resplit-1", "resplit-2"))
    np.testing.assert_array_equal(first.train_x, again.train_x)
    assert not np.array_equal(first.train_x, other.train_x)


@pytest.mark.parametrize("split", ["", "flam", "resplit-", "resplit--1", "resplit-4294967296", "resplit-1.5", "43"])
def test_an_unknown_split_is_one_line(split: str) -> None:
    with pytest.raises(InputError, match=r"data\.split: expected flamby, or resplit-N"):
        load_heart(split=split)


def test_no_hospitals_rows_reach_another_hospital(partitions: tuple[Partition, ...]) -> None:
    for each in partitions:
        with (FOLDER / f"processed.{each.name}.data").open() as file:
            ages = Counter(float(row[0]) for row in csv.reader(file) if "?" not in row[:10])
        scaled = np.concatenate([each.train_x[:, 0], each.test_x[:, 0], each.donated_x[:, 0]]).astype(np.float64)
        assert Counter(np.rint(scaled * 30 + 50).tolist()) == ages


def test_features_are_flambys_thirteen_scaled_by_published_ranges(partitions: tuple[Partition, ...]) -> None:
    assert FEATURES == (
        "age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak",
        "cp=2", "cp=3", "cp=4", "restecg=1", "restecg=2",
    )  # fmt: skip
    # The first row of processed.cleveland.data: a man of 63, typical angina, 145 mm Hg, 233 mg/dl, sugar above 120,
    # hypertrophy, 150 beats, no exercise angina, 2.3 mm.
    expected = [13 / 30, 1, 10 / 45, 33 / 100, 1, 10 / 80, -1, 0.15, 0, 0, 0, 0, 1]
    cleveland = partitions[0]
    rows = np.concatenate([cleveland.train_x, cleveland.test_x, cleveland.donated_x])
    assert min(float(np.abs(row - np.array(expected)).max()) for row in rows) < 1e-6
    for each in partitions:
        assert each.train_x.dtype == each.train_y.dtype == each.test_x.dtype == np.float32
        assert np.abs(np.concatenate([each.train_x, each.test_x])).max() <= 1


def test_scaling_uses_no_statistics_of_the_data() -> None:
    values = rows_of("cleveland")[:, 3]
    for some in (values, values[:10], values[:1]):
        np.testing.assert_array_equal(RANGES["trestbps"].scale(some), RANGES["trestbps"].scale(values)[: len(some)])


def test_every_range_names_its_unit_and_its_source() -> None:
    for name, each in RANGES.items():
        assert each.low < each.high, name
        assert each.unit, name
        assert each.source, name


def test_what_was_not_measured_becomes_the_middle_of_the_range(partitions: tuple[Partition, ...]) -> None:
    swiss = partitions[2]
    assert set(swiss.train_x[:, FEATURES.index("chol")]) == {0.0}
    assert ClinicalRange(10, 20, "m", "test").scale(np.array([0.0, 15, 99])).tolist() == [-1, 0, 1]
    assert ClinicalRange(10, 20, "m", "test", zero_is_missing=True).scale(np.array([0.0, 20])).tolist() == [0, 1]


def test_labels_say_disease_or_none(partitions: tuple[Partition, ...]) -> None:
    positives = {each.name: int(each.train_y.sum() + each.test_y.sum() + each.donated_y.sum()) for each in partitions}
    assert positives == {"cleveland": 139, "hungarian": 98, "switzerland": 45, "va": 101}


def test_the_vendored_files_are_those_of_the_manifest_and_of_flamby() -> None:
    md5 = {
        "cleveland": "2d91a8ff69cfd9616aa47b59d6f843db",
        "hungarian": "22e96bee155b5973568101c93b3705f6",
        "switzerland": "9a87f7577310b3917730d06ba9349e20",
        "va": "4249d03ca7711e84f4444768c9426170",
    }
    manifest = json.loads((FOLDER / "manifest.json").read_bytes())["sha256"]
    assert set(manifest) == {f"processed.{name}.data" for name in HOSPITALS}
    for name in HOSPITALS:
        data = (FOLDER / f"processed.{name}.data").read_bytes()
        assert hashlib.md5(data, usedforsecurity=False).hexdigest() == md5[name]
        assert hashlib.sha256(data).hexdigest() == manifest[f"processed.{name}.data"]


def test_the_investigators_are_named() -> None:
    text = (FOLDER / "ATTRIBUTION.md").read_text()
    for name in ("Andras Janosi", "William Steinbrunn", "Matthias Pfisterer", "Robert Detrano", "CC BY 4.0"):
        assert name in text


def test_policies_are_the_owners_canonical_sandbox_documents(partitions: tuple[Partition, ...]) -> None:
    for each in partitions:
        data = (FOLDER / "policies" / f"{each.name}.json").read_bytes()
        assert document.to_bytes(document.from_bytes(DataPolicy, data)) == data
        assert each.policy.grant is GrantKind.SANDBOX
        assert (each.policy.micro_epsilon_grant, each.policy.delta_e12) == (10_000_000, 10_000_000)
        assert (each.policy.unit, each.policy.allows_unprotected) == ("example", True)
        assert "public data" in each.policy.source


def test_a_card_names_the_dataset_its_file_and_its_registered_size(partitions: tuple[Partition, ...]) -> None:
    for each in partitions:
        file = f"processed.{each.name}.data"
        assert each.card.name == each.policy.dataset_name == f"uci-heart-{each.name}"
        assert each.card.files == {file: hashlib.sha256((FOLDER / file).read_bytes()).hexdigest()}
        assert each.card.nominal_size == len(each.train_x)
        assert each.features == 13
    assert len({each.card.digest() for each in partitions}) == 4


def test_files_may_lie_elsewhere(folder: Path, partitions: tuple[Partition, ...]) -> None:
    for here, there in zip(load_heart(folder), partitions, strict=True):
        np.testing.assert_array_equal(here.train_x, there.train_x)
        assert here.card == there.card


@given(name=st.sampled_from(HOSPITALS), position=st.integers(0, 4000), bit=st.integers(0, 7))
def test_one_flipped_bit_of_a_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, position: int, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("heart")
    for each in HOSPITALS:
        data = bytearray((FOLDER / f"processed.{each}.data").read_bytes())
        if each == name:
            data[position] ^= 1 << bit
        (folder / f"processed.{each}.data").write_bytes(data)
    with pytest.raises(InputError, match=rf"processed\.{name}\.data: expected sha256 .*, got .*; restore the original"):
        load_heart(folder)


def test_a_missing_file_is_one_line(folder: Path) -> None:
    (folder / "processed.va.data").unlink()
    with pytest.raises(InputError, match=r"processed\.va\.data: expected a readable file, got No such file"):
        load_heart(folder)


def test_a_folder_in_the_place_of_a_file_is_one_line(folder: Path) -> None:
    (folder / "processed.va.data").unlink()
    (folder / "processed.va.data").mkdir()
    with pytest.raises(InputError, match="expected a readable file"):
        load_heart(folder)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"63,1,1,145,233,1,2,150,0,2.3,3,0,6", "line 2: expected 14 columns, got 13"),
        (b"63,1,1,145,233,1,2,150,0,2.3,3,0,6,0,0", "line 2: expected 14 columns, got 15"),
        (b"", "line 2: expected 14 columns, got 1"),
        (b"63,1,1,145,233,1,2,150,0,2.3,3,0,6,?", "line 2: expected a diagnosis"),
        (b"63,1,1,145,nan,1,2,150,0,2.3,3,0,6,0", "line 2: expected a number or '\\?', got 'nan'"),
        (b"63,1,1,145,inf,1,2,150,0,2.3,3,0,6,0", "line 2: expected a number or '\\?', got 'inf'"),
        (b"63,1,1,145,high,1,2,150,0,2.3,3,0,6,0", "line 2: expected a number or '\\?', got 'high'"),
        (b"63,1,1,145,\xff,1,2,150,0,2.3,3,0,6,0", "line 2: expected a number or '\\?'"),
    ],
)
def test_a_row_that_is_not_the_files_format_is_one_line(line: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"mine, {message}"):
        parse(GOOD_LINE + line + b"\n", "mine")


def test_a_missing_value_drops_its_row_except_in_the_dropped_columns() -> None:
    dropped = b"63,1,1,?,233,1,2,150,0,2.3,3,0,6,0\n"
    kept = b"44,1,1,145,233,1,2,150,0,2.3,?,?,?,2\n"
    assert parse(GOOD_LINE + dropped + kept, "mine")[:, 0].tolist() == [63, 44]
