"""The real command line, in a process that sends itself a signal at a step of its journal.

    python -m tests.scenarios.crash.launcher untracked SIGSTOP accepted after 1 run privacy=off --home DIR

The process stops or dies before or after the journal's n-th append of that step; everything else is the command's own,
where `tracked` stands first its tracking process too.
"""

from __future__ import annotations

import signal
import sys

from fedchain.cli.main import main
from fedchain.wiring import simulation
from tests.scenarios.crash.zygote import DyingJournal
from tests.scenarios.genuine import untracked

if __name__ == "__main__":
    tracking, name, step, moment, occurrence, *command = sys.argv[1:]
    DyingJournal.blow = signal.Signals[name]
    DyingJournal.kills = frozenset({(step, moment, int(occurrence))})
    vars(simulation).update(FileJournal=DyingJournal)
    if tracking == "untracked":
        vars(simulation).update(tracked=untracked)
    sys.exit(main(command))
