"""Time that a test moves, and randomness that a test can repeat."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class ManualClock:
    """Stands still until it is moved."""

    time: int = 1_800_000_000
    is_moved: Callable[[int], object] = lambda _: None

    def now(self) -> int:
        return self.time

    def forward(self, seconds: int) -> None:
        self.time += seconds
        self.is_moved(self.time)


@dataclass(slots=True)
class CountedEntropy:
    """A different value each time, the same sequence for the same seed."""

    seed: bytes = b"entropy"
    drawn: int = 0

    def secret(self, size: int) -> bytes:
        self.drawn += 1
        return hashlib.shake_256(self.seed + self.drawn.to_bytes(8)).digest(size)
