"""Data of the experimenter's own: what becomes a partition, and what is refused with its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.datasets.own import (
    Columns,
    make_partition,
    partitions_of,
    read_csv,
    read_policy,
    sandbox,
    split_arrays,
)
from fedchain.adapters.datasets.partitioners import Partitioner, dirichlet, evenly, shards
from fedchain.core import document
from fedchain.core.errors import InputError, PolicyError
from tests.core.samples import FEW

POLICY = sandbox("made", "synthetic")
ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)
LABELS = np.array([0, 1] * 5)
COLUMNS = Columns("ill", "clinic")


def test_a_fifth_is_held_out_and_no_row_is_lost() -> None:
    part = make_partition("north", ROWS, LABELS, POLICY)
    assert (len(part.train_x), len(part.test_x), len(part.donated_x)) == (8, 2, 0)
    assert sorted(np.concatenate([part.train_x, part.test_x]).ravel()) == sorted(ROWS.ravel())
    assert (part.card.nominal_size, part.policy.dataset_name, part.inputs) == (8, "made: north", "3")


def test_the_same_arrays_are_the_same_dataset_and_other_ones_are_not() -> None:
    one, same = (make_partition("north", ROWS, LABELS, POLICY).card.digest() for _ in range(2))
    other = make_partition("north", ROWS + 1, LABELS, POLICY).card.digest()
    assert one == same != other


def test_rows_may_have_any_shape() -> None:
    assert make_partition("north", np.zeros((4, 9, 128)), np.zeros(4), POLICY).inputs == "9x128"


def test_one_row_is_trained_on_and_none_is_refused() -> None:
    assert len(make_partition("north", ROWS[:1], LABELS[:1], POLICY).train_x) == 1
    with pytest.raises(
        InputError, match="client north has no rows: expected at least one to train on, got 0; leave it"
    ):
        make_partition("north", ROWS[:0], LABELS[:0], POLICY)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_value_that_is_not_finite_is_named_with_its_row(value: float) -> None:
    rows = ROWS.astype(np.float64)
    rows[7, 1] = value
    with pytest.raises(
        InputError, match=r"rows of client north: expected finite numbers, .* the first is 7; drop such"
    ):
        make_partition("north", rows, LABELS, POLICY)
    with pytest.raises(InputError, match="label of rows of client north"):
        make_partition("north", ROWS, np.where(LABELS, np.nan, 0), POLICY)


def test_labels_and_names_have_to_fit() -> None:
    with pytest.raises(InputError, match=r"expected rows \(n, features\) and labels \(n,\)"):
        make_partition("north", ROWS, LABELS[:3], POLICY)
    with pytest.raises(InputError, match="lower-case letters"):
        make_partition("../north", ROWS, LABELS, POLICY)
    with pytest.raises(InputError, match="expected an array of numbers"):
        make_partition("north", [["a", "b"]], [1], POLICY)


def test_a_csv_file_is_cut_by_its_clients_column(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("clinic,age,ill,note\nNorth,1,0,a\nSouth,2.5,1,b\nNorth,3,1,c\n")
    north, south = read_csv(path, Columns("ill", "clinic", ("note",)), POLICY)
    assert (north.name, south.name) == ("north", "south")
    assert sorted(np.concatenate([north.train_x, north.test_x]).ravel()) == [1, 3]
    assert south.train_y.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("clinic,age,ill\nNorth,,0\n", "row 1, column age: expected a finite number, got ''; drop such rows"),
        ("clinic,age,ill\nNorth,1,0\nNorth,nan,0\n", "row 2, column age: expected a finite number"),
        ("clinic,age\nNorth,1\n", "has no column ill: expected one of clinic, age"),
        ("clinic,ill\nNorth,1\n", "expected at least one column beside label and client"),
        ("clinic,age,ill\nNorth,1\n", "line 2: expected 3 values, got 2"),
        ("age,age,ill\n1,2,0\n", "line 1: expected a header"),
    ],
)
def test_a_csv_file_that_cannot_be_trained_on_is_named_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_csv(path, COLUMNS, POLICY)
    assert said in str(caught.value)


def test_without_a_policy_nothing_is_trained(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="the data have no policy: expected their owner's grant"):
        read_policy(tmp_path / "policy.json")
    (tmp_path / "policy.json").write_bytes(document.to_bytes(POLICY) + b"\n")
    assert read_policy(tmp_path / "policy.json") == POLICY


def test_a_data_function_gives_partitions_of_one_shape() -> None:
    north = make_partition("north", ROWS, LABELS, POLICY)
    with pytest.raises(InputError, match="expected a list of fedchain's partitions, one a client, got ndarray"):
        partitions_of("mine:load", ROWS)
    with pytest.raises(InputError, match="expected one partition a client"):
        partitions_of("mine:load", [north, north])
    with pytest.raises(InputError, match="rows of client south: expected the shape 3 of north, got 2"):
        partitions_of("mine:load", [north, make_partition("south", ROWS[:, :2], LABELS, POLICY)])
    assert partitions_of("mine:load", [north]) == (north,)


def test_a_partition_made_by_hand_is_checked_like_any_other() -> None:
    north = make_partition("north", ROWS, LABELS, POLICY)
    spoilt = north.train_x.copy()
    spoilt[2, 0] = np.nan
    with pytest.raises(
        InputError, match=r"rows of client north: expected finite numbers, .* the first is 2; drop such"
    ):
        partitions_of("mine:load", [replace(north, train_x=spoilt)])
    with pytest.raises(InputError, match=r"client north has no rows: expected at least one .*; leave it out"):
        partitions_of("mine:load", [replace(north, train_x=north.train_x[:0], train_y=north.train_y[:0])])


PARTITIONERS = st.one_of(
    st.builds(evenly, st.integers(1, 6)),
    st.builds(dirichlet, st.integers(1, 6), st.floats(0.05, 50)),
    st.builds(shards, st.integers(1, 4), st.integers(1, 3)),
)


@FEW
@given(PARTITIONERS, st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(0, 2**32 - 1))
def test_every_row_goes_to_one_client_and_the_seed_decides(cut: Partitioner, labels: list[int], seed: int) -> None:
    array = np.array(labels, np.float32)
    parts = cut(array, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    assert [part.tolist() for part in parts] == [part.tolist() for part in cut(array, seed)]


def test_a_small_alpha_skews_the_labels_and_a_large_one_does_not() -> None:
    labels = np.tile(np.arange(2, dtype=np.float32), 500)
    shares = {
        alpha: [labels[part].mean() for part in dirichlet(4, alpha)(labels, 3) if len(part)] for alpha in (0.1, 1000)
    }
    assert max(shares[0.1]) - min(shares[0.1]) > 0.5
    assert max(shares[1000]) - min(shares[1000]) < 0.1


def test_a_client_of_a_shard_partition_sees_few_labels() -> None:
    labels = np.repeat(np.arange(10, dtype=np.float32), 20)
    assert max(len(set(labels[part])) for part in shards(5, 2)(labels, 0)) <= 3


def test_a_cut_with_an_empty_client_is_refused() -> None:
    with pytest.raises(InputError, match=r"client client\d has no rows.*a larger alpha"):
        split_arrays(ROWS, LABELS, POLICY, dirichlet(9, 0.05))
    with pytest.raises(InputError, match="alpha of a Dirichlet partition: expected a positive number"):
        dirichlet(2, 0.0)
