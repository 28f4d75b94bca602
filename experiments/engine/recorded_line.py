"""What a recorded run of a workload took, and the bound that it is compared with."""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path


def as_population(name: str) -> str:
    """Return what a workload is called whose clients are one site's."""
    return f"{name}, one population"


@dataclass(frozen=True, slots=True)
class Line:
    """One workload, in seconds.

    `start` is before the first round, `evaluation` what the metrics of a round's model take, `recording` what a round
    takes beside its own engine and evaluation, `drain` what is left to seal and to sign after the last round, `bound`
    hashing and writing a round's updates.
    """

    name: str
    start: float
    round: float
    engine: float
    evaluation: float
    recording: float
    drain: float
    bound: float


def bare(folder: Path, files: int, size: int) -> float:
    """Return the least of three times that it takes to hash, write and fsync so many files of so many bytes."""
    data, times = os.urandom(size), []
    for turn in range(3):
        start = time.perf_counter()
        for number in range(files):
            hashlib.sha256(data).digest()
            with (folder / f"{turn}-{number}").open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        times.append(time.perf_counter() - start)
    return min(times)
