"""Merkle trees with the rules of OpenZeppelin's StandardMerkleTree.

leaf = keccak256(keccak256(abi.encode(...))); leaves are sorted, pairs are hashed sorted. Sorted pairs cannot prove
absence. An empty tree has the root zero, which no leaf can prove itself against.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak

from fedchain.core.abi import words
from fedchain.core.digest import DIGEST_SIZE, ZERO, Digest


def leaf_hash(kinds: Sequence[str], values: Sequence[object]) -> Digest:
    """Return the doubly hashed leaf of static ABI values.

    Raises:
        FormatError: if a value does not fit its type.
    """
    return keccak(keccak(words(kinds, values)))


@functools.lru_cache(maxsize=1 << 10)  # what one site's proof hashes, another's does, too
def _pair(left: Digest, right: Digest) -> Digest:
    return keccak(left + right if left < right else right + left)


@dataclass(frozen=True, slots=True)
class MerkleTree:
    """A complete binary tree in one array: node i has the children 2i+1 and 2i+2, leaves lie last, sorted, reversed."""

    nodes: tuple[Digest, ...]

    @classmethod
    def of(cls, leaves: Sequence[Digest]) -> MerkleTree:
        """Build the tree over leaf hashes given in any order.

        Raises:
            ValueError: if two leaves are equal: a contribution counts once.
        """
        if len(set(leaves)) != len(leaves):
            raise ValueError("a tree holds each leaf once")
        if not leaves:
            return cls(())
        nodes: list[Digest] = [ZERO] * (len(leaves) - 1) + sorted(leaves, reverse=True)
        for index in range(len(leaves) - 2, -1, -1):
            nodes[index] = _pair(nodes[2 * index + 1], nodes[2 * index + 2])
        return cls(tuple(nodes))

    @property
    def root(self) -> Digest:
        """The root, or 32 zero bytes for no leaves."""
        return self.nodes[0] if self.nodes else ZERO

    def proof(self, leaf: Digest) -> tuple[Digest, ...]:
        """Return the sibling hashes from `leaf` up to the root.

        Raises:
            KeyError: if the tree does not hold the leaf.
        """
        first = len(self.nodes) // 2
        try:
            index = self.nodes.index(leaf, first)
        except ValueError:
            raise KeyError(leaf.hex()) from None
        path: list[Digest] = []
        while index > 0:
            path.append(self.nodes[index + 1 if index % 2 else index - 1])
            index = (index - 1) // 2
        return tuple(path)


def proves(root: Digest, leaf: Digest, proof: Sequence[Digest]) -> bool:
    """Tell whether the proof leads from the leaf to a non-zero root."""
    node = leaf
    for sibling in proof:
        if len(sibling) != DIGEST_SIZE:
            return False
        node = _pair(node, sibling)
    return node == root and root != ZERO
