"""The sidecar of an artifact of several chunks: the nodes of its DAG, each after its length (docs/format.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedchain.core.cid import RAW, Cid, DagBuilder, decode_node
from fedchain.core.errors import IntegrityError

SIDECAR: Final = ".dag"
REMEDY: Final = "put the artifact again from another copy"
_LENGTH_BYTES: Final = 4


def verified_leaves(cid: Cid, packed: bytes) -> list[tuple[bytes, int]]:
    """Build the tree again from the leaves that a sidecar names: the root and every byte must come out the same."""
    rebuilt = bytearray()
    dag = DagBuilder(lambda node: rebuilt.extend(packed_node(node)))
    links = [link for node in _nodes(packed) for link in decode_node(node) if link.cid.codec == RAW]
    for link in links:
        dag.add(link.cid.digest, link.content_bytes)
    if dag.root() != cid:
        raise damaged_sidecar(cid, dag.root())
    if rebuilt != packed:
        raise damaged_sidecar(cid, "other nodes than follow from its leaves")
    return [(link.cid.digest, link.content_bytes) for link in links]


def packed_node(node: bytes) -> bytes:
    """Return a node as it stands in a sidecar."""
    return len(node).to_bytes(_LENGTH_BYTES, "little") + node


def _nodes(packed: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(packed):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(packed[position:start], "little")
        yield packed[start:position]


def damaged_sidecar(cid: Cid, got: object) -> IntegrityError:
    """Return the error of an artifact whose sidecar is not what follows from its content."""
    return IntegrityError(f"the sidecar of artifact {cid} is damaged", expected=cid, got=got, remedy=REMEDY)
