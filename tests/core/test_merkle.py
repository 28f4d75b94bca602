from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import assume, given
from hypothesis import strategies as st

from fedchain.core.digest import ZERO
from fedchain.core.errors import FormatError
from fedchain.core.merkle import MerkleTree, leaf_hash, proves
from tests.core.samples import FEW, bytes32, unhex, vectors

TREES = vectors("merkle")["trees"]
hashes = bytes32.filter(any)  # nothing is known to hash to zero, which stands for no leaves
leaf_sets = st.lists(hashes, min_size=1, max_size=20, unique=True)


def decoded(kind: str, text: str) -> Any:
    return int(text) if kind.startswith("uint") else unhex(text)


@pytest.mark.parametrize("vector", TREES, ids=lambda vector: len(vector["leaves"]))
def test_roots_leaves_and_proofs_are_those_of_openzeppelin(vector: dict[str, Any]) -> None:
    tree = MerkleTree.of([unhex(each["leaf"]) for each in vector["leaves"]])
    assert tree.root == unhex(vector["root"])
    for each in vector["leaves"]:
        values = [decoded(kind, text) for kind, text in zip(vector["types"], each["value"], strict=True)]
        assert leaf_hash(vector["types"], values) == unhex(each["leaf"])
        assert tree.proof(unhex(each["leaf"])) == tuple(map(unhex, each["proof"]))


def test_a_leaf_is_hashed_twice() -> None:
    kinds, values = ["uint8", "bytes32"], [1, b"\x02" * 32]
    assert leaf_hash(kinds, values) == keccak(keccak(encode(kinds, values)))


def test_a_leaf_of_values_that_do_not_fit_is_refused() -> None:
    with pytest.raises(FormatError):
        leaf_hash(["uint8", "bytes32"], [1, b"short"])


@FEW
@given(leaf_sets)
def test_every_leaf_proves_itself(leaves: list[bytes]) -> None:
    tree = MerkleTree.of(leaves)
    assert all(proves(tree.root, leaf, tree.proof(leaf)) for leaf in leaves)


@FEW
@given(leaf_sets, bytes32)
def test_no_stranger_proves_itself(leaves: list[bytes], stranger: bytes) -> None:
    assume(stranger not in leaves)
    tree = MerkleTree.of(leaves)
    assert not any(proves(tree.root, stranger, tree.proof(leaf)) for leaf in leaves)
    with pytest.raises(KeyError):
        tree.proof(stranger)


@FEW
@given(leaf_sets, st.randoms(use_true_random=False))
def test_order_does_not_matter(leaves: list[bytes], random: Any) -> None:
    shuffled = random.sample(leaves, len(leaves))
    assert MerkleTree.of(shuffled) == MerkleTree.of(leaves)


@FEW
@given(leaf_sets, leaf_sets)
def test_two_sets_of_leaves_never_share_a_root(one: list[bytes], other: list[bytes]) -> None:
    assert (MerkleTree.of(one).root == MerkleTree.of(other).root) == (set(one) == set(other))


@FEW
@given(leaf_sets, st.data())
def test_a_proof_that_is_altered_in_any_way_proves_nothing(leaves: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree.of(leaves)
    leaf = data.draw(st.sampled_from(leaves))
    proof = tree.proof(leaf)
    assert not proves(tree.root, leaf, (*proof, data.draw(bytes32)))
    if proof:
        position = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[position][0] ^ 1]) + proof[position][1:]
        assert not proves(tree.root, leaf, (*proof[:position], flipped, *proof[position + 1 :]))
        assert not proves(tree.root, leaf, proof[:position] + proof[position + 1 :])


@FEW
@given(leaf_sets.filter(lambda leaves: len(leaves) > 1))
def test_an_inner_node_is_no_leaf(leaves: list[bytes]) -> None:
    tree = MerkleTree.of(leaves)
    with pytest.raises(KeyError):
        tree.proof(tree.root)
    with pytest.raises(KeyError):
        tree.proof(tree.nodes[len(leaves) - 2])


def test_siblings_of_another_length_prove_nothing() -> None:
    inner = keccak(b"the hash that was to be hashed a second time")
    assert keccak(inner + b"") == keccak(inner)
    assert not proves(keccak(inner), inner, [b""])
    assert not proves(keccak(inner + b"\x00" * 64), inner, [b"\x00" * 64])


def test_no_leaves_have_the_root_zero_and_prove_nothing() -> None:
    empty = MerkleTree.of([])
    assert empty.root == ZERO
    assert not proves(ZERO, ZERO, ())
    with pytest.raises(KeyError):
        empty.proof(ZERO)


@FEW
@given(leaf_sets)
def test_a_leaf_counts_once(leaves: list[bytes]) -> None:
    with pytest.raises(ValueError, match="once"):
        MerkleTree.of([*leaves, leaves[0]])


def test_a_lone_leaf_is_its_own_root() -> None:
    leaf = keccak(b"leaf")
    assert MerkleTree.of([leaf]).root == leaf
    assert proves(leaf, leaf, ())
