"""The Merkle tree of an append-only log, and proofs that it only grew.

RFC 6962, section 2.1: sha2-256, a leaf is hashed behind a zero byte and a node behind a one byte, and a tree of n
leaves is split at the largest power of two below n. Leaves keep their order, so that a tree of the first m leaves is a
part of every later one. Proofs are checked as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fedchain.core.digest import Digest
from fedchain.core.errors import IntegrityError

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def entry_hash(entry: bytes) -> Digest:
    """Return the leaf hash of a log's entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


@dataclass(slots=True)
class HistoryTree:
    """A tree that grows at its right end; `peaks` are the roots of its complete subtrees, largest first."""

    size: int = 0
    peaks: list[Digest] = field(default_factory=list[Digest])

    def append(self, leaf: Digest) -> None:
        """Add a leaf hash; a leaf completes as many subtrees as the size so far has ones at its end."""
        for _ in range((~self.size & self.size + 1).bit_length() - 1):
            leaf = _node(self.peaks.pop(), leaf)
        self.peaks.append(leaf)
        self.size += 1

    def root(self) -> Digest:
        """Return the tree's root."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = _node(peak, root)
        return root


def root_of(leaves: Sequence[Digest]) -> Digest:
    """Return the root over leaf hashes."""
    tree = HistoryTree()
    for leaf in leaves:
        tree.append(leaf)
    return tree.root()


def inclusion_proof(leaves: Sequence[Digest], index: int) -> tuple[Digest, ...]:
    """Return the siblings from a leaf to the root, bottom first (RFC 6962, 2.1.1).

    Raises:
        ValueError: if there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise ValueError(f"leaf {index} of a tree of {len(leaves)}")
    if len(leaves) == 1:
        return ()
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return (*inclusion_proof(left, index), root_of(right))
    return (*inclusion_proof(right, index - split), root_of(left))


def consistency_proof(leaves: Sequence[Digest], first: int) -> tuple[Digest, ...]:
    """Return the nodes that show the tree of the first `first` leaves to be a part of all (RFC 6962, 2.1.2).

    Raises:
        ValueError: if `first` is not from 1 to the number of leaves.
    """
    if not 0 < first <= len(leaves):
        raise ValueError(f"a tree of {first} leaves is no part of one of {len(leaves)}")
    return _subproof(leaves, first, is_whole=True)


def check_inclusion(leaf: Digest, index: int, size: int, root: Digest, proof: Sequence[Digest]) -> None:
    """Check that a tree of `size` leaves with this root has this leaf at this place.

    Raises:
        IntegrityError: if the proof does not show it.
    """
    node, last, computed = index, size - 1, leaf
    is_long_enough = 0 <= index < size
    for sibling in proof:
        is_long_enough = is_long_enough and last > 0
        if node & 1 or node == last:
            computed = _node(sibling, computed)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            computed = _node(computed, sibling)
        node, last = node >> 1, last >> 1
    if not is_long_enough or last != 0 or computed != root:
        raise IntegrityError(f"proof of entry {index} in {size}", expected=f"root {root.hex()}", got=computed.hex())


def check_consistency(first: tuple[int, Digest], second: tuple[int, Digest], proof: Sequence[Digest]) -> None:
    """Check that the log with the second (size, root) only adds entries to the log with the first.

    Raises:
        IntegrityError: if the proof does not show it.
    """
    (old_size, old_root), (size, root) = first, second
    if not 0 < old_size <= size:
        raise IntegrityError("proof of a log's growth", expected=f"from 1 to {size} entries", got=old_size)
    if old_size == size:
        computed, is_complete = (old_root, old_root), not proof
    else:
        computed, is_complete = _grown(old_size, old_root, size, proof)
    if not is_complete or computed != (old_root, root):
        raise IntegrityError(
            f"proof that {size} entries continue {old_size}",
            expected=f"roots {old_root.hex()} and {root.hex()}",
            got=" and ".join(each.hex() for each in computed),
        )


def _grown(old_size: int, old_root: Digest, size: int, proof: Sequence[Digest]) -> tuple[tuple[Digest, Digest], bool]:
    """Return both roots as the proof makes them, and whether it has as many nodes as the sizes ask for."""
    is_peak = old_size & (old_size - 1) == 0  # then the old root itself is the first node, and is not sent
    nodes = [old_root, *proof] if is_peak else list(proof)
    if not nodes:
        return (old_root, old_root), False
    node, last = old_size - 1, size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    old = new = nodes[0]
    for each in nodes[1:]:
        if last == 0:
            return (old, new), False
        if node & 1 or node == last:
            old, new = _node(each, old), _node(each, new)
            while node and not node & 1:
                node, last = node >> 1, last >> 1
        else:
            new = _node(new, each)
        node, last = node >> 1, last >> 1
    return (old, new), last == 0


def _subproof(leaves: Sequence[Digest], first: int, *, is_whole: bool) -> tuple[Digest, ...]:
    if first == len(leaves):
        return () if is_whole else (root_of(leaves),)
    split = _split(len(leaves))
    left, right = leaves[:split], leaves[split:]
    if first <= split:
        return (*_subproof(left, first, is_whole=is_whole), root_of(right))
    return (*_subproof(right, first - split, is_whole=False), root_of(left))


def _split(size: int) -> int:
    """Return the largest power of two below a size of at least 2."""
    return 1 << (size - 1).bit_length() - 1


def _node(left: Digest, right: Digest) -> Digest:
    return hashlib.sha256(b"\x01" + left + right).digest()
