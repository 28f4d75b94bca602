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
from itertools import chain
from typing import BinaryIO, Final

from fedchain.adapters.sidecar import packed_node
from fedchain.core.cid import CHUNK_BYTES, BytesLike, Cid, DagBuilder, cut

_HASHERS: Final = 2
"""Threads that hash what is read, and chunks that are read ahead for them."""
_WRITTEN_AHEAD: Final = 6
"""Chunks that may be written before they are hashed: a thread that waits for each one would sleep half its time."""
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


def read_whole(content: BinaryIO, leaves: Sequence[tuple[bytes, int]]) -> bytes | None:
    """Return a whole file whose chunks have these digests and at most these sizes; None if it has others."""
    data = content.read(sum(size for _, size in leaves))
    return data if [digest for digest, _ in _leaves_of(data)] == [digest for digest, _ in leaves] else None


def name_of(data: BytesLike) -> Cid:
    """Return the CID of an artifact in memory, hashed by two threads."""
    dag = DagBuilder()
    for digest, size in _leaves_of(data):
        dag.add(digest, size)
    return dag.root()


def write_hashed(content: BinaryIO, parts: Iterable[BytesLike]) -> tuple[Cid, bytes]:
    """Write `parts`, hashing each chunk once; return the CID and the bytes of the sidecar.

    A part that cannot be written to must not change while the next ones come.
    """
    nodes = bytearray()
    dag = DagBuilder(lambda node: nodes.extend(packed_node(node)))
    ahead: deque[tuple[Future[bytes], int]] = deque()
    copies = _Copies()
    syncing: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as disk, ThreadPoolExecutor(max_workers=1) as hasher:
        for number, chunk in enumerate(cut(parts), start=1):
            if len(chunk) < CHUNK_BYTES:
                last = _finished(_digest(chunk))
            else:
                last = hasher.submit(_digest, chunk if chunk.readonly else copies.of(chunk))
            ahead.append((last, len(chunk)))
            content.write(chunk)
            if len(ahead) > _WRITTEN_AHEAD:
                _add_first(ahead, dag)
            if number % _SYNC_EVERY == 0:
                if syncing is not None:
                    syncing.result()  # the system reports a failed write-back once, so nobody may miss it
                syncing = disk.submit(os.fdatasync, content.fileno())
        while ahead:
            _add_first(ahead, dag)
    if syncing is not None:
        syncing.result()
    return dag.root(), bytes(nodes)


class _Copies:
    """Copies of full chunks that may change; each is valid until as many others as may be ahead were made."""

    def __init__(self) -> None:
        self._buffers: deque[bytearray] = deque()

    def of(self, chunk: memoryview) -> bytearray:
        if len(self._buffers) <= _WRITTEN_AHEAD:
            copy = bytearray(chunk)
        else:
            copy = self._buffers.popleft()
            copy[:] = chunk
        self._buffers.append(copy)
        return copy


def _add_first(ahead: deque[tuple[Future[bytes], int]], dag: DagBuilder) -> None:
    hashing, size = ahead.popleft()
    dag.add(hashing.result(), size)


def _finished(digest: bytes) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(digest)
    return future


def _digest(chunk: BytesLike) -> bytes:
    return sha256(chunk).digest()


def _leaves_of(data: BytesLike) -> list[tuple[bytes, int]]:
    """Return digest and size of each chunk."""
    chunks = list(cut([data]))
    if len(chunks) == 1:
        return [(_digest(chunks[0]), len(chunks[0]))]
    half = len(chunks) // 2
    with ThreadPoolExecutor(max_workers=_HASHERS) as hashers:
        digests = chain(*hashers.map(_digests, [chunks[:half], chunks[half:]]))
    return [(digest, len(chunk)) for digest, chunk in zip(digests, chunks, strict=True)]


def _digests(chunks: Iterable[BytesLike]) -> list[bytes]:
    return [_digest(chunk) for chunk in chunks]
