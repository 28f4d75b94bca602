"""The store with one large artifact, against plain files and plain sha256 of the same bytes, in one interleaved run.

Where KUBO_API names a node (`/ip4/127.0.0.1/tcp/5001`), the same artifact goes there, too, and is read back.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from experiments.bench.measure import Row, interleaved
from fedchain.adapters.cipher import encrypted
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.adapters.kubo.store import KuboStore
from fedchain.core.cid import CHUNK_BYTES
from fedchain.core.encryption import EncryptedHeader

PUT_BOUND = 1 / 0.6
ENCRYPTED_PUT_BOUND = 1 / 0.4
READ_BOUND = 1 / 0.9
MEMORY_MEGABYTES = 64
_DAEMON_TIMEOUT_S = 600.0
T = TypeVar("T")


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
        _write(plain, data)
        streamed, read, hashed, loaded = interleaved(
            [
                lambda: sum(len(chunk) for chunk in store.chunks(cid)),
                lambda: store.get(cid),
                lambda: hashlib.sha256(data).digest(),
                lambda: hashlib.sha256(plain.read_bytes()).digest(),
            ],
            repeats,
        )
        note = f"peak {_peak(store) / 1e6:.1f} MB of memory, whatever the size"
    size = f"{megabytes} MiB"
    rows = [
        Row(f"put of {size}", put, "write + fsync", written, PUT_BOUND, note),
        Row(f"encrypted put of {size}", private, "write + fsync", written, ENCRYPTED_PUT_BOUND),
        Row(f"verified stream of {size}", streamed, "sha256 in memory", hashed, READ_BOUND),
        Row(f"verified get of {size} into memory", read, "read + sha256", loaded, READ_BOUND),
    ]
    return rows + _daemon(data, size, (written, hashed))


def _daemon(data: memoryview, size: str, plain: tuple[float, float]) -> list[Row]:
    """The rows of the node at KUBO_API, none where there is none; it is measured once, since it takes long."""
    name = os.environ.get("KUBO_API")
    if name is None:
        return []
    store = KuboStore(KuboNode(KuboAddress.parse(name), os.environ.get("KUBO_AUTHORIZATION"), _DAEMON_TIMEOUT_S))
    cid, put = _timed(lambda: store.put_stream(_parts(data)))
    _, read = _timed(lambda: sum(len(chunk) for chunk in store.chunks(cid)))
    store.remove(cid)
    return [
        Row(f"put of {size} to {store.version()}", put, "write + fsync", plain[0], None),
        Row(f"verified stream of {size} from it", read, "sha256 in memory", plain[1], None),
    ]


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return call(), time.perf_counter() - start


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
