"""What recording cannot cost less than: `python -m experiments.engine.floor [W1a W1b W2]`.

For each update of a round, and nothing else: a site signs it and its receipt, the aggregator signs a promise, and each
signature is checked by the other side; a data key is wrapped for four readers and opened once; the payload is
encrypted, decrypted, and hashed by both sides for its commitment and its CID; the site makes it durable before it
leaves, the aggregator before it promises; charge, promise and receipt are durable at the site, each before the next
step. All in C libraries, without a document, a message, a statement of SQL or a ledger, on two processes. The bound is
`recorded_line.bare`: hashing, writing and syncing the same bytes once, on one process.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from coincurve import PrivateKey, PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from rich.console import Console
from rich.table import Table

from experiments.engine.recorded_line import as_population, bare
from experiments.engine.workloads import WORKLOADS, named
from fedchain.adapters.cipher import Opener, wrapped_keys
from fedchain.core.encryption import ARTIFACT

PROCESSES: Final = 2
READERS: Final = 4
SIGNATURES: Final = 3
HASHES: Final = 4
"""Of a payload: commitment and CID, at the site and at the gate."""
NOTES: Final = 3
"""What a site makes durable beside its update: charge, promise, receipt."""
TURNS: Final = 3


@dataclass(frozen=True, slots=True)
class Floor:
    """Seconds of a round: what cannot be left out, and hashing and writing its bytes."""

    name: str
    floor: float
    bound: float


def record(folder: str, numbers: Sequence[int], size: int) -> None:
    """Do for each of some updates what its record asks for."""
    readers = [Opener.of(os.urandom(32)) for _ in range(READERS)]
    public = [each.public_key for each in readers]
    signer, update = PrivateKey(), os.urandom(size)
    for number in numbers:
        place = Path(folder) / str(number)
        durable(place.with_suffix(".charge"), b"charge")
        key, digest = os.urandom(32), b""
        for _ in range(HASHES):
            digest = hashlib.sha256(update).digest()
        cipher = AESGCM(key)
        payload = cipher.encrypt(bytes(12), update, None)
        keys = wrapped_keys(key, digest, ARTIFACT, public)
        durable(place.with_suffix(".released"), payload)
        for _ in range(SIGNATURES):
            PublicKey.from_signature_and_message(signer.sign_recoverable(digest, hasher=None), digest, hasher=None)
        cipher = AESGCM(readers[0].data_key(keys, digest))
        if cipher.decrypt(bytes(12), payload, None) != update:
            raise AssertionError("what was encrypted is not what was decrypted")
        durable(place.with_suffix(".kept"), payload)
        for name in (".promise", ".receipt"):
            durable(place.with_suffix(name), b"note")


def durable(path: Path, data: bytes) -> None:
    """Write a file and sync it."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def measure(name: str, *, is_population: bool) -> Floor:
    """Return the least of some turns for a workload's round, of which a population makes one update."""
    workload = named(name)
    size = 4 * sum(each.numel() for each in workload.module().parameters())
    updates, size = (1, size * workload.cohort) if is_population else (workload.cohort, size)
    shares = [range(first, updates, PROCESSES) for first in range(PROCESSES)]
    times: list[float] = []
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool,
    ):
        for _ in range(TURNS + 1):  # the first starts the processes
            start = time.perf_counter()
            list(pool.map(record, [folder] * PROCESSES, shares, [size] * PROCESSES))
            times.append(time.perf_counter() - start)
        shown = as_population(name) if is_population else name
        return Floor(shown, min(times[1:]), bare(Path(folder), updates, size))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.floor", description=__doc__)
    parser.add_argument("workloads", nargs="*", default=[each.name for each in WORKLOADS])
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    arguments = parser.parse_args()
    manners = itertools.product(arguments.workloads, (False, True))
    lines = [measure(name, is_population=is_population) for name, is_population in manners]
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines]))
        return 0
    table = Table(title="recording a round, seconds")
    for heading in ("workload", "cannot cost less", "hash and write", "ratio"):
        table.add_column(heading)
    for line in lines:
        table.add_row(line.name, f"{line.floor:.3f}", f"{line.bound:.3f}", f"{line.floor / line.bound:.2f}")
    Console(width=100).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
