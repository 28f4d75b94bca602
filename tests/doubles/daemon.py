"""A node of IPFS that others wrote, in a process of its own: js-ipfs, which speaks the RPC of Kubo.

It is installed by `make daemon`. Where the variable KUBO_API names the multiaddr of a node, that one is tested instead;
what is pinned there is lost, so let it be a node that nobody needs.
"""

from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from experiments.bench.daemon import FOLDER, PROGRAM, ROOT, DaemonProcess, running
from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.client import BoundedClient
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.core.cid import CHUNK_BYTES, RAW, Cid, decode_node

__all__ = ["FOLDER", "PROGRAM", "ROOT", "Daemon", "daemon"]

KUBO_API: Final = os.environ.get("KUBO_API")


@dataclass(slots=True)
class Daemon(DaemonProcess):
    """A running node whose files a test may alter or lose."""

    def node(self, timeout_s: float = 30) -> KuboNode:
        return KuboNode(KuboAddress.parse(self.address), None, timeout_s)

    def block_file(self, cid: Cid) -> Path:
        """The file of a block: `next-to-last/2` under the base32 of its multihash."""
        if KUBO_API is not None:
            pytest.skip("the files of the node at KUBO_API are not ours to alter")
        key = b32encode(cid.binary[2:]).decode().rstrip("=")
        return self.folder / "blocks" / key[-3:-1] / f"{key}.data"

    def forge(self, cid: Cid, data: bytes) -> None:
        """Put other bytes in the place of an artifact: chunk for chunk, what is too much behind the last one."""
        leaves = [cid] if cid.codec == RAW else [link.cid for link in decode_node(self.block_file(cid).read_bytes())]
        ends = [CHUNK_BYTES * number for number in range(1, len(leaves))]
        for leaf, start, end in zip(leaves, [0, *ends], [*ends, None], strict=True):
            if sha256(data[start:end]).digest() != leaf.digest:
                self.block_file(leaf).write_bytes(data[start:end])

    def forget(self, cid: Cid) -> None:
        """Unpin an artifact, as an operator might."""
        with BoundedClient(self.address, {}, 30) as client:
            client.pin.rm(cid.text)

    def forget_all(self) -> None:
        """Unpin everything."""
        with BoundedClient(self.address, {}, 30) as client:
            for name in client.pin.ls(type="recursive")["Keys"]:
                client.pin.rm(name)


@contextmanager
def daemon(folder: Path) -> Iterator[Daemon]:
    """A node for as long as the block."""
    if KUBO_API is not None:
        yield Daemon(folder, KUBO_API)
        return
    node = Daemon(folder)
    with running(node):
        yield node
