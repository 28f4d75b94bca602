"""The store with one large artifact, against plain files and plain sha256 of the same bytes, in one interleaved run.

The same artifact goes to a node of IPFS, too, and is read back: the one at KUBO_API (`/ip4/127.0.0.1/tcp/5001`), else
the js-ipfs of `make daemon`, which is measured once, since it takes long.
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

from experiments.bench.daemon import DaemonProcess, running
from experiments.bench.measure import Row, interleaved
from fedchain.adapters.cipher import Opener
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.adapters.kubo.store import KuboStore
from fedchain.adapters.private_store import PrivateStore, Readers, Writing
from fedchain.adapters.system import SystemEntropy
from fedchain.core.cid import CHUNK_BYTES
from fedchain.ports.store import ArtifactStore

PUT_BOUND = 1 / 0.6
ENCRYPTED_PUT_BOUND = 1 / 0.4
READ_BOUND = 1 / 0.9
MEMORY_MEGABYTES = 64
_DAEMON_TIMEOUT_S = 600.0
T = TypeVar("T")


def measure(megabytes: int, repeats: int) -> list[Row]:
    """Return the rows for an artifact of so many MiB."""
    data = os.urandom(megabytes * CHUNK_BYTES)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        store, plain = EmbeddedStore(Path(folder) / "store"), Path(folder) / "plain"
        private = _private(store, Path(folder) / "ring")
        put, encrypted, written = interleaved(
            [lambda: store.put(data), lambda: private.put(data), lambda: _write(plain, data)],
            repeats,
            lambda: _clear(store, plain),
        )
        cid, secret = store.put(data), private.put(data)
        _write(plain, data)
        streamed, read, opened, hashed, loaded = interleaved(
            [
                lambda: sum(len(chunk) for chunk in store.chunks(cid)),
                lambda: store.get(cid),
                lambda: sum(len(chunk) for chunk in private.chunks(secret)),
                lambda: hashlib.sha256(data).digest(),
                lambda: hashlib.sha256(plain.read_bytes()).digest(),
            ],
            repeats,
        )
        notes = [f"peak {_peak(each) / 1e6:.1f} MB of memory as a stream of any size" for each in (store, private)]
    size = f"{megabytes} MiB"
    rows = [
        Row(f"put of {size}", put, "write + fsync", written, PUT_BOUND, notes[0]),
        Row(f"encrypted put of {size}", encrypted, "write + fsync", written, ENCRYPTED_PUT_BOUND, notes[1]),
        Row(f"verified stream of {size}", streamed, "sha256 in memory", hashed, READ_BOUND),
        Row(f"verified stream of {size}, decrypted", opened, "sha256 in memory", hashed, None),
        Row(f"verified get of {size} into memory", read, "read + sha256", loaded, READ_BOUND),
    ]
    return rows + _daemon(data, size, (written, hashed))


def _private(store: EmbeddedStore, folder: Path) -> PrivateStore:
    """The store as one reader sees it, who writes for itself."""
    ring, reader = KeyRing(folder / "keys.sqlite"), Opener.of(os.urandom(32))
    return PrivateStore(store, ring, reader, Writing(Readers({reader.public_key: ring}), SystemEntropy()))


def _daemon(data: bytes, size: str, plain: tuple[float, float]) -> list[Row]:
    """The rows of a node of IPFS."""
    name = os.environ.get("KUBO_API")
    if name is not None:
        return _node(name, data, size, plain)
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        node = DaemonProcess(Path(folder))
        with running(node):
            return _node(node.address, data, size, plain)


def _node(name: str, data: bytes, size: str, plain: tuple[float, float]) -> list[Row]:
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


def _peak(store: ArtifactStore) -> int:
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


def _parts(data: bytes) -> Iterator[memoryview]:
    whole = memoryview(data)
    for start in range(0, len(data), CHUNK_BYTES):
        yield whole[start : start + CHUNK_BYTES]


def _clear(store: EmbeddedStore, plain: Path) -> None:
    """So that nobody pays for the files of the one before."""
    for cid in list(store.cids()):
        store.remove(cid)
    plain.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        for part in _parts(data):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
