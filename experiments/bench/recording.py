"""Recording a round's updates (quantise, hash, write, sign), against hashing and writing the same bytes.

Sites and aggregator work side by side, as they do in a federation: one thread makes the signed envelopes, the other
keeps them. The peer does nothing but sha256, write and fsync, one file an update.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from experiments.bench.measure import Row, interleaved
from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.core.envelope import Envelope
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.signatures import sign
from fedchain.core.tensors import FloatTensors, encode

CLIENTS = 8
BOUND = 1.3


def measure(parameters: int, repeats: int) -> list[Row]:
    """Return the row for a round of 8 updates of so many parameters."""
    rng = np.random.default_rng(1)
    updates: list[FloatTensors] = [{"weight": rng.normal(0, 0.01, parameters)} for _ in range(CLIENTS)]
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:
        store = EmbeddedStore(Path(folder) / "store")
        plain = Path(folder) / "plain"
        plain.mkdir()
        payloads = [payload for payload, _ in map(_signed, updates)]
        ours, peer = interleaved([lambda: _record(store, updates), lambda: _bare(plain, payloads)], repeats)
    return [Row(f"recording a round, {CLIENTS} x {parameters:,}", ours, "sha256 + write + fsync", peer, BOUND)]


def _signed(update: FloatTensors) -> tuple[bytes, bytes]:
    encoding = FixedPoint()
    envelope = Envelope.of(os.urandom(32), encoding, encode(encoding.quantise(update)))
    return envelope.to_bytes(), sign(b"\1" * 32, envelope.commitment())


def _record(store: EmbeddedStore, updates: Sequence[FloatTensors]) -> list[str]:
    with ThreadPoolExecutor(1) as sites:
        made: Iterator[tuple[bytes, bytes]] = sites.map(_signed, updates)
        return [store.put(payload).text for payload, _ in made]


def _bare(folder: Path, payloads: Sequence[bytes]) -> list[bytes]:
    digests = []
    for index, payload in enumerate(payloads):
        digests.append(hashlib.sha256(payload).digest())
        path = folder / f"{index}-{os.urandom(4).hex()}"
        with path.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
    return digests
