"""An ArtifactStore on a node of IPFS, over its RPC.

Idea: an artifact is there when its root is pinned recursively. Its blocks go first, one at a time, the pin last, so
that nothing half-written is ever visible and memory holds one chunk. Blocks are hashed by us on both ways: `add` would
leave the cutting to the node, and js-ipfs cuts in another way than it is told. The node should be the store's own:
whatever else is pinned there counts as an artifact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Final

from fedchain.adapters.kubo.rpc import KuboNode, KuboRpc
from fedchain.core.cid import DAG_PB, RAW, BytesLike, Cid, DagBuilder, Link, cut
from fedchain.core.dag import checked, leaves_of
from fedchain.core.errors import FormatError, IntegrityError, MissingArtifactError

_REMEDY: Final = "put the artifact again from another copy"


class KuboStore:
    """The artifacts of one node.

    Every method raises UnreachableError where the node gives no sensible answer in time.
    """

    def __init__(self, node: KuboNode) -> None:
        self._rpc = KuboRpc(node)

    @property
    def name(self) -> str:
        """The node's host and port."""
        return self._rpc.name

    def version(self) -> str:
        """Return what the node says of itself."""
        return self._rpc.version()

    def put(self, data: BytesLike) -> Cid:
        """See ArtifactStore."""
        return self.put_stream([data])

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """See ArtifactStore.

        Raises:
            IntegrityError: if the node does not give back what it was given.
        """
        unpinned: set[Cid] = set()
        dag = DagBuilder(lambda node: self._keep(Cid(DAG_PB, sha256(node).digest()), node, unpinned))
        try:
            for chunk in cut(parts):
                digest = sha256(chunk).digest()
                self._keep(Cid(RAW, digest), bytes(chunk), unpinned)
                dag.add(digest, len(chunk))
            root = dag.root()
            self._rpc.pin(root)
        finally:
            for each in unpinned:
                self._rpc.pin(each)
        return root

    def get(self, cid: Cid) -> bytes:
        """See ArtifactStore."""
        return b"".join(self.chunks(cid))

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """See ArtifactStore."""
        self._require(cid)
        for leaf in self._leaves(cid):
            yield self._leaf(cid, leaf)

    def chunk(self, cid: Cid, choose: Callable[[int], int]) -> bytes:
        """See AuditedStore."""
        self._require(cid)
        leaves = self._leaves(cid)
        return self._leaf(cid, leaves[choose(len(leaves))])

    def has(self, cid: Cid) -> bool:
        """See ArtifactStore."""
        return self._rpc.is_pinned(cid)

    def cids(self) -> Iterator[Cid]:
        """See ArtifactStore."""
        return self._rpc.pinned()

    def remove(self, cid: Cid) -> None:
        """See ArtifactStore. Blocks that another artifact shares stay."""
        try:
            blocks = [cid] if cid.codec == RAW else self._blocks(cid)
        except (IntegrityError, MissingArtifactError):
            blocks = [cid]  # what cannot be read cannot be followed; the node's own collection takes the rest
        self._rpc.unpin(cid)
        for each in blocks:
            self._rpc.remove_block(each)

    def _keep(self, cid: Cid, block: bytes, unpinned: set[Cid]) -> None:
        """Have the node keep a block, and read it back: a node that has a damaged one under this name keeps that.

        A pinned block cannot be replaced, so what pins it is unpinned meanwhile, and noted in `unpinned`.
        """
        self._rpc.put_block(cid, block)
        if self._gives_back(cid, block):
            return
        while (owner := self._rpc.pinned_through(cid)) is not None and owner not in unpinned:
            unpinned.add(owner)
            self._rpc.unpin(owner)
        self._rpc.remove_block(cid)
        self._rpc.put_block(cid, block)
        if not self._gives_back(cid, block):
            raise IntegrityError(f"{self.name} does not keep what it is given", expected=cid, got="other bytes")

    def _gives_back(self, cid: Cid, block: bytes) -> bool:
        try:
            return self._rpc.block(cid) == block
        except IntegrityError:
            return False

    def _require(self, cid: Cid) -> None:
        if not self._rpc.is_pinned(cid):
            raise MissingArtifactError(
                f"artifact {cid} is not in the store {self.name}", remedy="put it there from another copy"
            )

    def _blocks(self, cid: Cid) -> list[Cid]:
        nodes: list[Cid] = []

        def read(node: Cid) -> bytes:
            nodes.append(node)
            return self._rpc.block(node)

        leaves = [leaf.cid for leaf in leaves_of(cid, read)] if self._rpc.is_pinned(cid) else []
        return [cid, *dict.fromkeys(nodes + leaves)]

    def _leaves(self, cid: Cid) -> list[Link]:
        if cid.codec == RAW:
            return [Link(cid, 0, 0)]
        try:
            return list(leaves_of(cid, self._rpc.block))
        except (IntegrityError, FormatError) as error:
            raise _damaged(cid, error) from error

    def _leaf(self, root: Cid, leaf: Link) -> bytes:
        try:
            block = self._rpc.block(leaf.cid)
            checked(leaf.cid, block)
        except IntegrityError as error:
            raise _damaged(root, error) from error
        if root != leaf.cid and len(block) != leaf.content_bytes:
            raise _damaged(root, f"a leaf of {len(block)} bytes, where {leaf.content_bytes} are said")
        return block


def _damaged(cid: Cid, why: object) -> IntegrityError:
    return IntegrityError(f"artifact {cid} is damaged", expected=cid, got=why, remedy=_REMEDY)
