from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import IntegrityError
from fedchain.core.history_tree import (
    EMPTY_ROOT,
    HistoryTree,
    check_consistency,
    check_inclusion,
    consistency_proof,
    entry_hash,
    inclusion_proof,
    root_of,
)
from tests.core.samples import FEW, unhex, vectors

LOG = vectors("log")
INPUTS = [entry_hash(unhex(each)) for each in LOG["leafInputs"]]
leaf_lists = st.integers(1, 40).map(lambda size: [entry_hash(bytes([n])) for n in range(size)])
PUBLISHED = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}
"""Roots that the implementations of Certificate Transparency test themselves with."""


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_rfc_6962(size: int) -> None:
    assert root_of(INPUTS[:size]) == unhex(LOG["roots"][size - 1])
    assert PUBLISHED.get(size, root_of(INPUTS[:size]).hex()) == root_of(INPUTS[:size]).hex()


def test_an_empty_tree_has_the_root_of_nothing() -> None:
    assert HistoryTree().root() == EMPTY_ROOT == root_of([])


@FEW
@given(leaf_lists)
def test_a_tree_that_grows_leaf_by_leaf_has_the_root_of_every_prefix(leaves: list[bytes]) -> None:
    tree = HistoryTree()
    for size, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert (tree.size, tree.root()) == (size, root_of(leaves[:size]))
        assert len(tree.peaks) == size.bit_count()


def test_every_leaf_of_every_size_proves_itself_at_its_place_only() -> None:
    leaves = [entry_hash(bytes([n])) for n in range(20)]
    for size in range(1, len(leaves) + 1):
        root = root_of(leaves[:size])
        for index in range(size):
            proof = inclusion_proof(leaves[:size], index)
            check_inclusion(leaves[index], index, size, root, proof)
            for wrong in ((index + 1, size), (index - 1, size)):
                with pytest.raises(IntegrityError):
                    check_inclusion(leaves[index], *wrong, root, proof)


def test_every_tree_is_consistent_with_every_later_one_and_no_other() -> None:
    leaves = [entry_hash(bytes([n])) for n in range(20)]
    stranger = root_of([entry_hash(b"another"), *leaves[1:]])
    for second in range(1, len(leaves) + 1):
        root = root_of(leaves[:second])
        for first in range(1, second + 1):
            old, proof = (first, root_of(leaves[:first])), consistency_proof(leaves[:second], first)
            check_consistency(old, (second, root), proof)
            for wrong in ((first, stranger), (first + 1, old[1]), (0, old[1])):
                with pytest.raises(IntegrityError):
                    check_consistency(wrong, (second, root), proof)
            with pytest.raises(IntegrityError):
                check_consistency(old, (second, stranger), proof)


@FEW
@given(st.data(), leaf_lists)
def test_a_proof_with_one_node_changed_dropped_or_added_shows_nothing(data: st.DataObject, leaves: list[bytes]) -> None:
    first = data.draw(st.integers(1, len(leaves)))
    old, new = (first, root_of(leaves[:first])), (len(leaves), root_of(leaves))
    proof = consistency_proof(leaves, first)
    broken = [(*proof, bytes(32)), *(proof[:n] + proof[n + 1 :] for n in range(len(proof)))]
    broken += [(*proof[:n], bytes(32), *proof[n + 1 :]) for n in range(len(proof))]
    for each in broken:
        with pytest.raises(IntegrityError):
            check_consistency(old, new, each)
    index = data.draw(st.integers(0, len(leaves) - 1))
    siblings = inclusion_proof(leaves, index)
    for wrong in [(*siblings, bytes(32)), *(siblings[:n] + siblings[n + 1 :] for n in range(len(siblings)))]:
        with pytest.raises(IntegrityError):
            check_inclusion(leaves[index], index, len(leaves), new[1], wrong)


def test_there_is_no_proof_about_entries_that_are_not_there() -> None:
    with pytest.raises(ValueError, match="leaf 3 of a tree of 3"):
        inclusion_proof(INPUTS[:3], 3)
    for first in (0, 4):
        with pytest.raises(ValueError, match="no part"):
            consistency_proof(INPUTS[:3], first)


def test_an_entry_cannot_pass_for_a_node() -> None:
    left, right = INPUTS[:2]
    assert entry_hash(left + right) != root_of([left, right])
