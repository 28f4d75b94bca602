"""Several processes send with one key and one journal, and some are killed: nothing is lost, nothing is sent twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import deploy
from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.core import document
from tests.adapters.evm.sending_process import added
from tests.doubles.anvil import Anvil, anvil
from tests.doubles.evm import CHAIN_ID, DEPLOYER, OPERATOR, TERMS

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@dataclass(slots=True)
class World:
    """A chain with the contracts, and a journal that processes share."""

    chain: Anvil
    folder: Path
    ledger: EvmLedger

    def start(self, first: int, last: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.adapters.evm.sending_process", self.chain.url]
        command += [str(self.folder / "intents.sqlite"), str(self.folder / "identity.json"), str(first), str(last)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)

    def sent(self) -> int:
        return int(self.chain.ask("eth_getTransactionCount", "0x" + OPERATOR.address.hex(), "latest"), 16)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with ExitStack() as stack:
        chain = stack.enter_context(anvil(tmp_path))
        node = stack.enter_context(rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), tmp_path / "deployer"))
        identity = deploy(node, DEPLOYER, TERMS)
        (tmp_path / "identity.json").write_bytes(document.to_bytes(identity))
        yield World(chain, tmp_path, EvmLedger(node, identity))


def _finished(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return output.split()


def test_three_processes_send_with_one_key(world: World) -> None:
    processes = [world.start(first, first + 9) for first in (1, 11, 21)]
    for process, first in zip(processes, (1, 11, 21), strict=True):
        assert _finished(process) == [str(number) for number in range(first, first + 10)]
    assert sorted(added(world.ledger)) == list(range(1, 31))
    assert world.sent() == 30


@pytest.mark.parametrize("confirmed", [0, 1, 3])
def test_a_killed_process_is_continued_beside_another(world: World, confirmed: int) -> None:
    """It is killed at whatever step it has come to after so many; what it had journaled is taken up."""
    other = world.start(101, 110)
    for _ in range(3):
        process = world.start(1, 8)
        assert process.stdout is not None
        for _ in range(confirmed + 1):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert len(_finished(world.start(1, 8))) == 8
    assert len(_finished(other)) == 10
    assert sorted(added(world.ledger)) == [*range(1, 9), *range(101, 111)]
    assert world.sent() == 18
