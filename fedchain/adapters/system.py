"""Time and randomness of the operating system: the only sources that production knows."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the time in seconds since 1970 (UTC)."""
        return int(time.time())


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """os.urandom, and nothing else."""

    def secret(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""
        return os.urandom(size)
