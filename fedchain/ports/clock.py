"""Time and secret randomness, passed in so that workflows stay reproducible in tests."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall-clock time."""

    def now(self) -> int:
        """Return the time in seconds since 1970 (UTC)."""
        ...


class Entropy(Protocol):
    """The operating system's randomness; production has one source, os.urandom."""

    def secret(self, size: int) -> bytes:
        """Return `size` unpredictable bytes."""
        ...
