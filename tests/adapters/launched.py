"""What launchers call in these tests: work that leaves a trace, and work that dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def work(line: str) -> None:
    """Do what the line says, in the folder that it names."""
    what, folder, name = line.split("\t")
    (Path(folder) / name).write_text(str(os.getpid()))
    if what == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "meet":  # nobody goes on before the other one is there
        end = time.monotonic() + 60
        while len(list(Path(folder).iterdir())) < 2 and time.monotonic() < end:
            os.sched_yield()
        assert len(list(Path(folder).iterdir())) >= 2, "two calls at once"
    if what == "wait":
        signal.pause()
