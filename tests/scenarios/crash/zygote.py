"""Imports everything once, then forks a process for each run that is asked for on standard input.

A request is a JSON line {"home", "config" (canonical JSON), "kills": [[step, moment, occurrence], ...], "alarm_s"}: the
child runs the experiment in the home and kills itself (SIGKILL) before or after its journal's n-th append of that step;
after `alarm_s` seconds, if they are not 0, the kernel ends it wherever it is (SIGALRM, which nothing handles). The
answer is a line with the child's wait status. The children are processes of their own, and production code has no hook:
the journal is wrapped here.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

from fedchain.adapters.journal_file import FileJournal
from fedchain.cli.simulation import simulate
from fedchain.config import ExperimentConfig
from fedchain.ports.journal import Entry
from fedchain.ports.watcher import Event
from fedchain.wiring import simulation
from fedchain.workflow.audit_config import read_config
from tests.scenarios.genuine import untracked


class DyingJournal(FileJournal):
    """A journal that takes its process with it; with SIGSTOP for a `blow` the process can be woken again."""

    kills: frozenset[tuple[str, str, int]] = frozenset()
    blow: signal.Signals = signal.SIGKILL

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._seen: dict[str, int] = {}

    def append(self, *entries: Entry) -> None:
        for entry in entries:  # of several, any first ones may have reached the disk
            count = self._seen[entry.step] = self._seen.get(entry.step, 0) + 1
            self._die_at(entry.step, "before", count)
            super().append(entry)
            self._die_at(entry.step, "after", count)

    def _die_at(self, step: str, moment: str, count: int) -> None:
        if (step, moment, count) in self.kills:
            os.kill(os.getpid(), self.blow)


def ignore(_: Event) -> None:
    """Watch nothing."""


def run(config: ExperimentConfig, home: Path, kills: frozenset[tuple[str, str, int]]) -> None:
    """Run the experiment in this process, to its end or its death."""
    DyingJournal.kills = kills
    vars(simulation).update(FileJournal=DyingJournal, tracked=untracked)
    simulate(config, home, ignore, fresh=False)


def serve() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        config = read_config(request["config"].encode())
        kills = frozenset((step, moment, int(count)) for step, moment, count in request["kills"])
        child = os.fork()
        if child == 0:
            status = 70
            try:
                signal.setitimer(signal.ITIMER_REAL, float(request["alarm_s"]))
                run(config, Path(request["home"]), kills)
                status = 0
            except Exception:  # noqa: BLE001 - the child's outermost edge: it must never return to the loop
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()
