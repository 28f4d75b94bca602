"""A limit on the whole time of a call that may never return.

HTTP libraries limit each read, so a node that sends a byte a second holds them for ever, and nothing limits the look-up
of a name. So a call runs in a thread of its own, and whoever waits for it goes away at the deadline. What is left
behind ends with its connection; only so many may be left behind at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import TimeoutError as LateError
from typing import Final, TypeVar

from fedchain.adapters.threads import started

T = TypeVar("T")
MOST_LEFT_BEHIND: Final = 8


class DeadlineError(OSError):
    """A call did not end in time."""


class Deadline:
    """Lets calls take `limit_s` seconds each."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._free = threading.BoundedSemaphore(MOST_LEFT_BEHIND)

    def within(self, call: Callable[[], T]) -> T:
        """Return what `call` returns.

        Raises:
            DeadlineError: if it does not within the limit, or too many earlier calls still hang; else what it raises.
        """
        if not self._free.acquire(timeout=self._limit_s):
            raise DeadlineError(f"{MOST_LEFT_BEHIND} earlier requests still hang")
        done = started(call)
        done.add_done_callback(lambda _: self._free.release())
        try:
            return done.result(self._limit_s)
        except LateError as error:
            if done.done():  # the call itself raised it
                raise
            raise DeadlineError(f"no answer within {self._limit_s:g} s") from error
