"""The store with one large artifact, against plain files and plain sha256 of the same bytes, in one interleaved run.

Where KUBO_API names a node (`/ip4/127.0.0.1/tcp/5001`), the same artifact goes there and back, too.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from experiments.bench.measure import Row, interleaved
from fedchain.adapters.cipher import encrypted
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.cid import CHUNK_BYTES
from fedchain.core.encryption import EncryptedHeader

PUT_BOUND = 1 / 0.6
ENCRYPTED_PUT_BOUND = 1 / 0.4
READ_BOUND = 1 / 0.9
MEMORY_MEGABYTES = 64


def measure(megabytes: int, repeats: int) -> list[Row]:
    """Return the rows for an artifact of so many MiB."""
    data = memoryview(os.urandom(megabytes * CHUNK_BYTES))
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        store, plain = EmbeddedStore(Path(folder) / "store"), Path(folder) / "plain"
        put, private, written = interleaved(
            [
                lambda: store.put_stream(_parts(data)),
                lambda: store.put_stream(_encrypted(data)),
                lambda: _write(plain, data),
            ],
            repeats,
            lambda: _clear(store, plain),
        )
        cid = store.put_stream(_parts(data))
        streamed, read, hashed = interleaved(
            [
                lambda: sum(len(chunk) for chunk in store.chunks(cid)),
                lambda: store.get(cid),
                lambda: hashlib.sha256(data).digest(),
            ],
            repeats,
        )
        note = f"peak {_peak(store) / 1e6:.1f} MB of memory, whatever the size"
    size = f"{megabytes} MiB"
    return [
        Row(f"put of {size}", put, "write + fsync", written, PUT_BOUND, note),
        Row(f"encrypted put of {size}", private, "write + fsync", written, ENCRYPTED_PUT_BOUND),
        Row(f"verified stream of {size}", streamed, "sha256 in memory", hashed, READ_BOUND),
        Row(f"verified get of {size} into memory", read, "sha256 in memory", hashed, READ_BOUND),
    ]


def _peak(store: EmbeddedStore) -> int:
    """Peak bytes of Python's memory in putting and streaming an artifact that is made as it goes."""
    chunk = os.urandom(CHUNK_BYTES)
    tracemalloc.start()
    try:
        cid = store.put_stream(chunk for _ in range(MEMORY_MEGABYTES))
        for _ in store.chunks(cid):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _parts(data: memoryview) -> Iterator[memoryview]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _encrypted(data: memoryview) -> Iterator[bytes]:
    header = EncryptedHeader(0, 0, len(data))
    yield from encrypted(header, [bytes(32), *_parts(data)], os.urandom(32))


def _clear(store: EmbeddedStore, plain: Path) -> None:
    """So that nobody pays for the files of the one before."""
    for cid in list(store.cids()):
        store.remove(cid)
    plain.unlink(missing_ok=True)


def _write(path: Path, data: memoryview) -> None:
    with path.open("wb") as file:
        for part in _parts(data):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
