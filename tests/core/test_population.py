"""Populations: the roster's tree, who is drawn, and the mean that enters the model."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.errors import FormatError
from fedchain.core.history_tree import check_inclusion, entry_hash, root_of
from fedchain.core.population import (
    CLIENTS,
    COMMITMENTS,
    MOST_CLIENTS,
    PATHS,
    PREFIX,
    ROWS,
    Roster,
    RosterOpening,
    RosterTree,
    checked,
    drawn,
    entry,
    one_update,
    schema_with,
)
from fedchain.core.rejection import Reason
from fedchain.core.tensors import IntTensors, TensorSchema, decode, encode
from tests.core.samples import FEW, bytes32, unhex, vectors

RUN = b"\x07" * 32
SCHEMA = TensorSchema(("bias", "weight"), ((2,), (2, 3)))


def update_of(tree: RosterTree, clients: tuple[int, ...], seed: int = 1) -> IntTensors:
    draws = np.random.default_rng(seed)
    stacked = {
        name: draws.integers(-(2**31) + 1, 2**31, (len(clients), *shape)).astype("<i4")
        for name, shape in zip(SCHEMA.names, SCHEMA.shapes, strict=True)
    }
    return stacked | tree.openings(clients)


def genuine(clients: int = 11, wanted: int = 4) -> tuple[Roster, RosterTree, IntTensors]:
    tree = RosterTree(np.arange(3, 3 + clients, dtype=np.int32))
    roster = Roster(tree.root, clients, wanted, 3)
    return roster, tree, update_of(tree, drawn(RUN, 1, roster))


@pytest.mark.parametrize("clients", [2, 3, 4, 5, 8, 9, 31])
def test_the_root_is_that_of_rfc_6962_over_as_many_entries_as_the_next_power_of_two(clients: int) -> None:
    sizes = np.arange(1, clients + 1, dtype=np.int32)
    commitments = [bytes([number]) * 32 for number in range(clients)]
    tree = RosterTree(sizes, commitments)
    entries = [entry(number, number + 1, commitments[number]) for number in range(clients)]
    padded = [*entries, *[b""] * ((1 << (clients - 1).bit_length()) - clients)]
    assert tree.root == root_of([entry_hash(each) for each in padded])
    for number, each in enumerate(entries):
        path = tree.path(number)
        nodes = [path[start : start + 32] for start in range(0, len(path), 32)]
        check_inclusion(entry_hash(each), number, len(padded), tree.root, nodes)


def test_the_shared_vectors_hold() -> None:
    shared = vectors("population")
    tree = RosterTree(np.array(shared["rows"], np.int32), [unhex(each) for each in shared["commitments"]])
    roster = Roster(tree.root, 11, 4, min(shared["rows"]))
    assert tree.root == unhex(shared["root"])
    assert RosterOpening("plant", unhex(shared["salt"]), roster).dataset(sum(shared["rows"])) == unhex(
        shared["dataset"]
    )
    for number, clients in shared["drawn"].items():
        assert list(drawn(unhex(shared["run"]), int(number), roster)) == clients
    chosen = shared["drawn"]["1"]
    for client in chosen:
        assert tree.path(client) == b"".join(unhex(each) for each in shared["paths"][str(client)])
    update = {"weight": np.array(shared["updates"], "<i4")} | tree.openings(chosen)
    mean = checked(update, roster, unhex(shared["run"]), 1)
    assert isinstance(mean, dict)
    assert mean["weight"].tolist() == shared["mean"]


@given(st.integers(2, 2000), st.data())
def test_a_round_draws_so_many_different_clients_in_order(clients: int, data: st.DataObject) -> None:
    wanted = data.draw(st.integers(1, min(clients, 50)))
    found = drawn(data.draw(bytes32), data.draw(st.integers(1, 99)), Roster(bytes(32), clients, wanted, 1))
    assert len(found) == wanted == len(set(found))
    assert list(found) == sorted(found)
    assert 0 <= found[0] <= found[-1] < clients


def test_each_client_is_drawn_about_as_often_as_any_other_and_another_run_draws_others() -> None:
    roster = Roster(bytes(32), 50, 5, 1)
    often = Counter(client for round_ in range(1, 2001) for client in drawn(RUN, round_, roster))
    assert len(often) == 50
    assert max(abs(count - 200) for count in often.values()) < 75  # more than five standard deviations
    assert drawn(RUN, 1, roster) != drawn(b"\x08" * 32, 1, roster)
    assert drawn(RUN, 1, replace(roster, drawn=50)) == tuple(range(50))


def test_words_that_would_favour_the_first_clients_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 2**64 - 2**64 % 11
    words = iter([limit, 2**64 - 1, limit - 1, 3, 14, 5])
    monkeypatch.setattr("fedchain.core.population.tagged", lambda *_: next(words).to_bytes(8) + bytes(24))
    assert drawn(RUN, 1, Roster(bytes(32), 11, 3, 1)) == (3, 5, 10)


@FEW
@given(st.integers(2, 40), st.data())
def test_the_mean_is_that_of_fractions_rounded_once_half_to_even(clients: int, data: st.DataObject) -> None:
    sizes = np.array(data.draw(st.lists(st.integers(1, 2**26), min_size=clients, max_size=clients)), np.int32)
    if data.draw(st.booleans()):
        sizes[:] = sizes[0]
    wanted = data.draw(st.integers(1, clients))
    tree = RosterTree(sizes)
    roster = Roster(tree.root, clients, wanted, int(sizes.min()))
    chosen = drawn(RUN, 3, roster)
    update = update_of(tree, chosen, seed=data.draw(st.integers(0, 99)))
    mean = checked(update, roster, RUN, 3)
    assert isinstance(mean, dict)
    assert TensorSchema.of(mean) == SCHEMA
    for name, array in mean.items():
        for place in np.ndindex(array.shape):
            terms = [int(sizes[client]) * int(update[name][row][place]) for row, client in enumerate(chosen)]
            assert array[place] == round(Fraction(sum(terms), sum(int(sizes[client]) for client in chosen)))


def test_an_update_of_a_population_has_the_declared_tensors_and_any_other_update_is_its_own_mean() -> None:
    roster, _, update = genuine()
    assert TensorSchema.of(update) == schema_with(SCHEMA, roster)
    assert TensorSchema.of(decode(encode(update))) == schema_with(SCHEMA, roster)
    plain = {name: array[0] for name, array in update.items() if not name.startswith(PREFIX)}
    assert one_update(plain) is plain


def _bit(name: str) -> Any:
    def flip(update: IntTensors) -> None:
        update[name] = update[name].copy()
        update[name].reshape(-1)[-1] ^= 1

    return flip


def _another_client(update: IntTensors) -> None:
    _, tree, _ = genuine()
    chosen = update[CLIENTS].tolist()
    other = next(client for client in range(11) if client not in chosen)
    update |= tree.openings(tuple(sorted([*chosen[1:], other])))


def _twice(update: IntTensors) -> None:
    for name in (CLIENTS, ROWS, COMMITMENTS, PATHS):
        update[name] = update[name][[0, 0, *range(2, len(update[name]))]]


def _negative(update: IntTensors) -> None:
    update[ROWS] = -update[ROWS]


@pytest.mark.parametrize("spoil", [*map(_bit, (CLIENTS, ROWS, COMMITMENTS, PATHS)), _another_client, _twice, _negative])
def test_clients_that_the_round_does_not_draw_or_the_roster_does_not_have_are_refused(spoil: Any) -> None:
    roster, _, update = genuine()
    assert not isinstance(checked(update, roster, RUN, 1), Reason)
    spoil(update)
    assert checked(update, roster, RUN, 1) is Reason.OTHER_CLIENTS


@pytest.mark.parametrize(("run", "round_"), [(RUN, 2), (b"\x08" * 32, 1)])
def test_clients_of_another_round_or_run_are_refused(run: bytes, round_: int) -> None:
    roster, _, update = genuine()
    assert checked(update, roster, run, round_) is Reason.OTHER_CLIENTS


def test_clients_of_another_roster_are_refused() -> None:
    roster, _, update = genuine()
    other = RosterTree(np.arange(4, 15, dtype=np.int32))
    assert checked(update, replace(roster, root=other.root), RUN, 1) is Reason.OTHER_CLIENTS


def test_a_client_with_fewer_rows_than_the_roster_says_is_refused() -> None:
    tree = RosterTree(np.array([3, 9], np.int32))
    roster = Roster(tree.root, 2, 2, 3)
    assert not isinstance(checked(update_of(tree, (0, 1)), roster, RUN, 1), Reason)
    assert checked(update_of(tree, (0, 1)), replace(roster, least_rows=4), RUN, 1) is Reason.OTHER_CLIENTS


def test_a_dataset_opens_with_its_own_salt_roster_and_rows_only() -> None:
    roster, _, _ = genuine()
    opening = RosterOpening("plant", bytes(32), roster)
    datasets = {
        opening.dataset(88), opening.dataset(89), replace(opening, salt=b"\x01" * 32).dataset(88),
        replace(opening, name="other").dataset(88), replace(opening, roster=replace(roster, least_rows=4)).dataset(88),
        replace(opening, roster=replace(roster, clients=12)).dataset(88),
        replace(opening, roster=replace(roster, root=RUN)).dataset(88),
    }  # fmt: skip
    assert len(datasets) == 7
    assert replace(opening, roster=replace(roster, drawn=9)).dataset(88) == opening.dataset(88)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clients": 1}, "2..16777216 clients, got 1"),
        ({"clients": MOST_CLIENTS + 1}, "2..16777216 clients, got 16777217"),
        ({"drawn": 0}, "got 0 drawn of 11, 3 rows"),
        ({"drawn": 12}, "got 12 drawn of 11, 3 rows"),
        ({"least_rows": 0}, "got 4 drawn of 11, 0 rows"),
        ({"root": b"\x01"}, "a root"),
    ],
)
def test_a_roster_out_of_bounds_is_refused_before_anything_is_drawn_from_it(
    change: dict[str, Any], message: str
) -> None:
    roster, _, _ = genuine()
    with pytest.raises(FormatError, match=message):
        replace(roster, **change)
    written = document.to_bytes(roster).replace(b'"drawn":4', b'"drawn":12')
    with pytest.raises(FormatError, match="12 drawn of 11"):
        document.from_bytes(Roster, written)
