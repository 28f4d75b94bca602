"""Files read and written in chunks of 1 MiB that are hashed on the way, beside the reading and writing.

Hashing frees the interpreter, so it costs no time of its own where there is a second core. A file of one chunk is
hashed in place: a thread would cost more than it brings.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import BinaryIO, Final

from fedchain.adapters.sidecar import packed_node
from fedchain.core.cid import CHUNK_BYTES, BytesLike, Cid, DagBuilder, cut

_HASHERS: Final = 2
"""Threads that hash what is read, and chunks that are read ahead for them."""
_SYNC_EVERY: Final = 16
"""Chunks between two syncs in the background, so that the disk works while the next chunks are hashed."""


def read_hashed(content: BinaryIO, sizes: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
    """Yield chunks of at most these sizes, each with its sha2-256."""
    if len(sizes) == 1:
        chunk = content.read(sizes[0])
        yield chunk, _digest(chunk)
        return
    with ThreadPoolExecutor(max_workers=_HASHERS) as hashers:
        ahead: deque[tuple[bytes, Future[bytes]]] = deque()
        for size in sizes:
            chunk = content.read(size)
            ahead.append((chunk, hashers.submit(_digest, chunk)))
            if len(ahead) > _HASHERS:
                chunk, hashing = ahead.popleft()
                yield chunk, hashing.result()
        for chunk, hashing in ahead:
            yield chunk, hashing.result()


def write_hashed(content: BinaryIO, parts: Iterable[BytesLike]) -> tuple[Cid, bytes]:
    """Write `parts`, hashing each chunk once; return the CID and the bytes of the sidecar."""
    nodes = bytearray()
    dag = DagBuilder(lambda node: nodes.extend(packed_node(node)))
    syncing: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as disk, ThreadPoolExecutor(max_workers=1) as hasher:
        for number, chunk in enumerate(cut(parts), start=1):
            hashing = hasher.submit(_digest, chunk) if len(chunk) == CHUNK_BYTES else None
            content.write(chunk)
            dag.add(_digest(chunk) if hashing is None else hashing.result(), len(chunk))
            if number % _SYNC_EVERY == 0:
                if syncing is not None:
                    syncing.result()  # the system reports a failed write-back once, so nobody may miss it
                syncing = disk.submit(os.fsync, content.fileno())
    if syncing is not None:
        syncing.result()
    return dag.root(), bytes(nodes)


def _digest(chunk: BytesLike) -> bytes:
    return sha256(chunk).digest()
