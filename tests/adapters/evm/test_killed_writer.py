"""A killed writer loses nothing that was confirmed and leaves nothing half-written; readers never see a tear."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import embedded_node
from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.evm.opening import read_chain
from fedchain.adapters.system import SystemClock
from fedchain.core.digest import ZERO
from fedchain.core.record import head_slot
from fedchain.ports.ledger import LinkEvent
from tests.adapters.evm.sealing_process import RUN
from tests.doubles.clock import ManualClock
from tests.doubles.evm import deployed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


class Sealing:
    """The sealing process: its lines, and its end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self._output = process.stdout

    def lines(self, count: int) -> list[str]:
        return [self._output.readline() for _ in range(count)]

    def kill(self) -> list[str]:
        """Kill it and return what it had said meanwhile."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        return self._output.readlines()


@contextmanager
def sealing(path: Path) -> Iterator[Sealing]:
    command = [sys.executable, "-m", "tests.adapters.evm.sealing_process", str(path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Sealing(process)
        finally:
            process.kill()


def _links(path: Path) -> list[LinkEvent]:
    with deployed(path, ManualClock()) as contracts:
        ledger = EvmLedger(contracts.node, contracts.identity)
        events = [event for event in ledger.events() if isinstance(event, LinkEvent)]
        if events:
            last = events[-1]
            assert ledger.head_slot(RUN) == head_slot(last.link.round, last.round_hash, closed=False)
        assert contracts.chain.head().block_number == 2 + len(events)
        return events


def _assert_is_one_chain(events: list[LinkEvent]) -> None:
    previous = ZERO
    for number, event in enumerate(events, 1):
        assert (event.link.round, event.previous_hash) == (number, previous)
        previous = event.round_hash


@pytest.mark.parametrize(
    "delay_s", [0.013, *(pytest.param(d, marks=pytest.mark.slow) for d in (0.0, 0.005, 0.02, 0.031, 0.047))]
)
def test_a_killed_writer_loses_nothing_that_it_confirmed(tmp_path: Path, delay_s: float) -> None:
    path = tmp_path / "chain.sqlite"
    with sealing(path) as process:
        confirmed = process.lines(5)
        deadline = time.monotonic() + delay_s
        while time.monotonic() < deadline:
            pass  # the moment of death wanders over the steps of a transaction
        confirmed += process.kill()
    reader = read_chain(path, SystemClock())
    height = reader.head().block_number
    reader.close()
    events = _links(path)
    assert height == 2 + len(events)
    _assert_is_one_chain(events)
    said = [(int(number), bytes.fromhex(hash_)) for number, hash_ in (line.split() for line in confirmed)]
    assert [(event.link.round, event.round_hash) for event in events][: len(said)] == said
    assert len(events) <= len(said) + 1


def test_the_next_writer_goes_on_where_the_killed_one_stopped(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    for _ in range(2):
        before = len(_links(path))
        with sealing(path) as process:
            process.lines(before + 3)
    events = _links(path)
    _assert_is_one_chain(events)
    assert len(events) >= 6


def test_beside_a_writer_readers_see_a_chain_that_only_grows(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    with sealing(path) as process:
        process.lines(1)
        chain = read_chain(path, SystemClock())
        with deployed(tmp_path / "another.sqlite", SystemClock()) as same_addresses:
            ledger = EvmLedger(embedded_node(chain), same_addresses.identity)
        seen: list[LinkEvent] = []
        for _ in range(40):
            events = [event for event in ledger.events() if isinstance(event, LinkEvent)]
            assert events[: len(seen)] == seen
            _assert_is_one_chain(events)
            seen = events
        chain.close()
    assert len(seen) > 1
