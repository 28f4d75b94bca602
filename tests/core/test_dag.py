from __future__ import annotations

from hashlib import sha256
from random import Random

import pytest

from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, DagBuilder, Link, cid_of, cut, encode_node
from fedchain.core.dag import MOST_ARTIFACT_BYTES, MOST_NODE_BYTES, depth_first, leaves_of, nodes_of
from fedchain.core.errors import FormatError, IntegrityError

LEAF = Cid(RAW, sha256(bytes(CHUNK_BYTES)).digest())


def kept(nodes: dict[Cid, bytes], links: list[Link]) -> Cid:
    node = encode_node(links)
    cid = Cid(DAG_PB, sha256(node).digest())
    nodes[cid] = node
    return cid


def test_the_leaves_of_a_tree_come_in_order() -> None:
    data = Random(1).randbytes(2 * CHUNK_BYTES + 9)
    chunks = [bytes(chunk) for chunk in cut([data])]
    nodes = nodes_of(iter(chunks))
    leaves = list(leaves_of(cid_of(data), nodes.__getitem__))
    assert [leaf.cid.digest for leaf in leaves] == [sha256(chunk).digest() for chunk in chunks]
    assert [leaf.content_bytes for leaf in leaves] == [CHUNK_BYTES, CHUNK_BYTES, 9]
    assert list(depth_first(cid_of(data), nodes.__getitem__)) == [cid_of(data), *(leaf.cid for leaf in leaves)]


def test_a_tree_of_two_levels_is_walked_whole() -> None:
    nodes: dict[Cid, bytes] = {}
    dag = DagBuilder(lambda node: nodes.__setitem__(Cid(DAG_PB, sha256(node).digest()), node))
    for _ in range(1025):
        dag.add(LEAF.digest, CHUNK_BYTES)
    root = dag.root()
    assert len(list(leaves_of(root, nodes.__getitem__))) == 1025
    assert max(len(node) for node in nodes.values()) < MOST_NODE_BYTES
    assert len(list(depth_first(root, nodes.__getitem__))) == 1025 + 3  # two nodes and the root above them


def test_another_node_than_was_asked_for_is_an_integrity_error() -> None:
    with pytest.raises(IntegrityError, match="a block is damaged"):
        list(leaves_of(Cid(DAG_PB, bytes(32)), lambda _: encode_node([Link(LEAF, CHUNK_BYTES, CHUNK_BYTES)])))


@pytest.mark.parametrize("links", [[Link(LEAF, CHUNK_BYTES, CHUNK_BYTES)], [Link(LEAF, 5, 5)] * 2, []])
def test_a_tree_that_the_builder_would_not_make_is_refused(links: list[Link]) -> None:
    nodes: dict[Cid, bytes] = {}
    root = kept(nodes, links)
    with pytest.raises(FormatError):
        list(leaves_of(root, nodes.__getitem__))


def test_a_few_nodes_that_stand_for_petabytes_are_refused_before_they_are_walked() -> None:
    nodes: dict[Cid, bytes] = {}
    cid, size = LEAF, CHUNK_BYTES
    for _ in range(3):
        cid, size = kept(nodes, [Link(cid, size, size)] * 1024), size * 1024
    assert size > MOST_ARTIFACT_BYTES
    asked: list[Cid] = []

    def read(wanted: Cid) -> bytes:
        asked.append(wanted)
        return nodes[wanted]

    with pytest.raises(FormatError, match="a node of no artifact"):
        list(leaves_of(cid, read))
    assert asked == [cid]


def test_a_node_that_claims_less_than_is_below_it_is_refused_as_soon_as_that_shows() -> None:
    nodes: dict[Cid, bytes] = {}
    inner = kept(nodes, [Link(LEAF, CHUNK_BYTES, CHUNK_BYTES)] * 1024)
    root = kept(nodes, [Link(inner, 1, 1)] * 1024)
    with pytest.raises(FormatError, match="more below it"):
        list(leaves_of(root, nodes.__getitem__))


def test_nodes_deeper_than_any_artifact_are_refused() -> None:
    nodes: dict[Cid, bytes] = {}
    cid = LEAF
    for _ in range(10):
        cid = kept(nodes, [Link(cid, CHUNK_BYTES, CHUNK_BYTES)])
    with pytest.raises(FormatError, match="a node of no artifact"):
        list(leaves_of(cid, nodes.__getitem__))
