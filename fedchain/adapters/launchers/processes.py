"""Processes of this machine, forked from a server that has imported everything, so that a job starts in milliseconds.

The server (multiprocessing's forkserver) imports the work's module before it has any thread, and forks one process a
job from then on: a job that crashes or is killed takes nobody with it. A process ends when the one that launched it
does, and leaves Ctrl-C to that one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess

from fedchain.ports.launcher import Ended, Work

_ORPHANED = 3


def warm_up(module: str) -> None:
    """Have the server import a module while this process does other things."""
    multiprocessing.get_context("forkserver").set_forkserver_preload([module])
    forkserver.ensure_running()


def launch(work: Work, lines: Sequence[str], at_once: int) -> Generator[Ended, None, None]:
    """See Launcher."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([work.__module__])
    waiting = deque(lines)
    running: dict[int, tuple[str, ForkServerProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                line = waiting.popleft()
                process = context.Process(target=_called, args=(work, line), daemon=False)
                process.start()
                running[process.sentinel] = line, process
            for sentinel in wait(list(running)):
                line, process = running.pop(int(str(sentinel)))
                process.join()
                yield Ended(line, _death(process.exitcode))
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def _called(work: Work, line: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work(line)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(_ORPHANED)


def _death(code: int | None) -> str:
    if code == 0:
        return ""
    return f"killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
