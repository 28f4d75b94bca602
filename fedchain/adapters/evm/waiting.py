"""Waiting with an end: a stopwatch that tests replace, and deadlines measured on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol


class Stopwatch(Protocol):
    """Elapsed time, unaffected by changes of the wall clock."""

    def now(self) -> float:
        """Return seconds since some fixed moment."""
        ...

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


@dataclass(frozen=True, slots=True)
class SystemStopwatch:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Return seconds since some fixed moment."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        time.sleep(seconds)


class Deadline:
    """A moment on a stopwatch."""

    def __init__(self, stopwatch: Stopwatch, seconds: float) -> None:
        self._stopwatch = stopwatch
        self._end = stopwatch.now() + seconds

    def remaining(self) -> float:
        """Return the seconds that are left, zero when it is past."""
        return max(0.0, self._end - self._stopwatch.now())

    def is_past(self) -> bool:
        """Return whether no time is left."""
        return self.remaining() == 0.0

    def wait(self, seconds: float) -> None:
        """Wait, at most until the deadline."""
        self._stopwatch.wait(min(seconds, self.remaining()))
