"""Work on threads. For aggregation blocks are independent and numpy releases the lock, so the sums stay exact."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fedchain.core.aggregation import Job, RunAll, serially

T = TypeVar("T")


def started(call: Callable[[], T]) -> Future[T]:
    """Start a call in a thread of its own, which the end of the process does not wait for."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001 - it is raised again by whoever waits
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return done


def run_all_on(threads: int) -> RunAll:
    """Return a function that applies another to jobs on `threads` threads."""
    if threads == 1:
        return serially
    pool = ThreadPoolExecutor(threads, thread_name_prefix="aggregation")

    def run_all(apply: Callable[[Job], None], jobs: Iterable[Job]) -> None:
        for _ in pool.map(apply, jobs):
            pass

    return run_all
