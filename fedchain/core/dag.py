"""The tree of an artifact, read back from blocks that nobody vouches for.

Every block is hashed before a byte of it is believed, and the tree must be the very one that `DagBuilder` makes of its
leaves. A few blocks that name each other can stand for any number of bytes, so what a tree may claim is limited before
it is walked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final, TypeAlias

from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, BytesLike, Cid, DagBuilder, Link, decode_node
from fedchain.core.errors import FormatError, IntegrityError

MOST_ARTIFACT_BYTES: Final = 1 << 38
"""256 GiB: its leaves, all in memory while it is read, take some 60 MB."""
MOST_NODE_BYTES: Final = 1 << 17
"""1,024 links of the longest form take less."""
_MOST_LEVELS: Final = 3
"""1,024 leaves, their nodes and one root make 1 TiB."""

ReadBlock: TypeAlias = Callable[[Cid], bytes]


def checked(cid: Cid, block: BytesLike) -> None:
    """Hash a block.

    Raises:
        IntegrityError: if it is not the one that `cid` names.
    """
    digest = sha256(block).digest()
    if digest != cid.digest:
        raise IntegrityError("a block is damaged", expected=cid, got=Cid(cid.codec, digest))


def leaves_of(root: Cid, read_node: ReadBlock) -> Iterator[Link]:
    """Yield the leaves of an artifact with a tree, in order, after the whole tree is verified.

    Raises:
        FormatError: if the blocks are no tree of the profile, or one of more than 256 GiB.
        IntegrityError: if a node is not the one that was asked for; `read_node` raises its own errors, too.
    """
    leaves = list(_walk(root, read_node, _MOST_LEVELS))
    dag = DagBuilder()
    for each in leaves:
        dag.add(each.cid.digest, each.content_bytes)
    rebuilt = dag.root()
    if rebuilt != root:
        raise FormatError("a tree of another profile", expected=root, got=rebuilt)
    yield from leaves


def nodes_of(chunks: Iterator[bytes]) -> dict[Cid, bytes]:
    """Return the inner nodes of an artifact, by their CID; a single chunk has none."""
    nodes: dict[Cid, bytes] = {}
    dag = DagBuilder(lambda node: nodes.__setitem__(Cid(DAG_PB, sha256(node).digest()), node))
    for chunk in chunks:
        dag.add(sha256(chunk).digest(), len(chunk))
    dag.root()
    return nodes


def depth_first(root: Cid, read_node: ReadBlock) -> Iterator[Cid]:
    """Yield the blocks of a verified tree as a walk meets them: each node before its children, repeats included."""
    yield root
    if root.codec == DAG_PB:
        for link in decode_node(read_node(root)):
            yield from depth_first(link.cid, read_node)


def _walk(node: Cid, read_node: ReadBlock, levels: int) -> Iterator[Link]:
    block = read_node(node)
    checked(node, block)
    links = decode_node(block)
    if not links or levels == 0 or sum(link.content_bytes for link in links) > MOST_ARTIFACT_BYTES:
        raise FormatError("a node of no artifact", expected=f"a tree of at most {MOST_ARTIFACT_BYTES} bytes", got=node)
    for link in links:
        if link.cid.codec == RAW:
            if not 0 < link.content_bytes <= CHUNK_BYTES:
                raise FormatError("no leaf of the profile", expected="1 byte to 1 MiB", got=link.content_bytes)
            yield link
            continue
        below = 0
        for leaf in _walk(link.cid, read_node, levels - 1):
            below += leaf.content_bytes
            if below > link.content_bytes:  # what was claimed above it is what the limit was held against
                raise FormatError("a node with more below it than it says", expected=link.content_bytes, got=below)
            yield leaf
