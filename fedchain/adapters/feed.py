"""One consumer of a stream that several consume at their own pace, each in a thread of its own.

A few chunks wait for it, no more, so that memory stays constant. Whoever is so slow that the others would wait too long
for it is given up: its stream breaks off, and what it has written of it never becomes visible.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError as LateError
from contextlib import suppress
from queue import Empty, Full, Queue
from typing import Final

from fedchain.adapters.threads import started
from fedchain.core.cid import Cid
from fedchain.core.errors import UnreachableError

SECONDS_A_CHUNK: Final = 1.0
"""How long a chunk of 1 MiB may take; a slower replica is of no use."""
_CHUNKS_AHEAD: Final = 4


class _BrokenOffError(Exception):
    """Ends a stream before its end."""


class Feed:
    """Runs `consume` over the chunks that are offered; the end of the stream is offered as None."""

    def __init__(self, consume: Callable[[Iterable[bytes]], Cid], patience_s: float) -> None:
        self.left_s = patience_s
        self._waiting: Queue[bytes | None] = Queue(_CHUNKS_AHEAD)
        self._is_broken = False
        self._done = started(lambda: self._consumed(consume))

    def offer(self, chunk: bytes | None) -> None:
        """Hand over a chunk, unless the consumer has failed; one that is too slow is given up."""
        if self._is_broken or self._done.done():
            return
        self.left_s += SECONDS_A_CHUNK
        before = time.monotonic()
        try:
            self._waiting.put(chunk, timeout=self.left_s)
        except Full:
            self.break_off()
        self.left_s = max(0.0, self.left_s - (time.monotonic() - before))

    def break_off(self) -> None:
        """End the stream where it is."""
        self._is_broken = True
        with suppress(Full):  # then it does not wait for the next chunk, and sees the mark when it comes to it
            self._waiting.put_nowait(None)

    def result(self, timeout_s: float) -> Cid:
        """Return what the consumer made of the stream.

        Raises:
            UnreachableError: if it was given up, or needs longer; else what it raised.
        """
        try:
            return self._done.result(max(0.0, timeout_s))
        except (LateError, _BrokenOffError) as error:
            self.break_off()
            raise UnreachableError("it is too slow") from error

    def _consumed(self, consume: Callable[[Iterable[bytes]], Cid]) -> Cid:
        try:
            return consume(self._chunks())
        finally:
            with suppress(Empty):  # whoever waits to hand over the next chunk waits no longer
                while True:
                    self._waiting.get_nowait()

    def _chunks(self) -> Iterator[bytes]:
        while (chunk := self._waiting.get()) is not None:
            if self._is_broken:
                raise _BrokenOffError
            yield chunk
        if self._is_broken:
            raise _BrokenOffError
