"""Aggregation on several threads: blocks are independent and numpy releases the lock, so the sums stay exact."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from fedchain.core.aggregation import Job, RunAll, serially


def run_all_on(threads: int) -> RunAll:
    """Return a function that applies another to jobs on `threads` threads."""
    if threads == 1:
        return serially
    pool = ThreadPoolExecutor(threads, thread_name_prefix="aggregation")

    def run_all(apply: Callable[[Job], None], jobs: Iterable[Job]) -> None:
        for _ in pool.map(apply, jobs):
            pass

    return run_all
