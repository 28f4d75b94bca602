"""A real JSON-RPC node in a process of its own: Foundry's anvil, as npm installs it, and what tests do to its chain.

Its own state file is not safe against a crash, so a test that kills the node first takes a copy of its state, which
stands for the disk of a node that keeps its promises.
"""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import threading
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.doubles.clock import ManualClock
from tests.doubles.evm import CHAIN_ID, EVERYBODY

ANVIL: Final = Path(__file__).parents[2] / "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil"
FUNDS: Final = hex(10**24)


@dataclass(slots=True)
class Anvil:
    """A running node; `url` stays the same over restarts."""

    folder: Path
    state: Path | None
    port: int = 0
    process: subprocess.Popen[str] = field(init=False)
    reader: threading.Thread = field(init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Return when it listens."""
        assert ANVIL.exists(), f"expected {ANVIL}, got no such file: run `make contracts` once"
        command = [str(ANVIL), "--hardfork", "cancun", "--port", str(self.port), "--chain-id", str(CHAIN_ID)]
        command += ["--accounts", "1", *(() if self.state is None else ("--load-state", str(self.state)))]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            found = re.match(r"Listening on [\d.]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                # It reports every request, and stops when nobody reads that.
                self.reader = threading.Thread(target=deque, args=(self.process.stdout, 0), daemon=True)
                self.reader.start()
                return
        raise AssertionError("".join(said))

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def saved(self) -> Path:
        """Return a file with its present state.

        Each start makes a first block of its own, and what was loaded holds the one before: of two, either could be the
        chain's after another start. Only the oldest is kept.
        """
        state = json.loads(gzip.decompress(bytes.fromhex(self.ask("anvil_dumpState").removeprefix("0x"))))
        firsts = [each for each in state["blocks"] if int(each["header"]["number"], 16) == 0]
        first = min(firsts, key=lambda each: int(each["header"]["timestamp"], 16))
        state["blocks"] = [each for each in state["blocks"] if each == first or each not in firsts]
        path = self.folder / "state.json"
        path.write_text(json.dumps(state))
        return path

    def restart(self) -> None:
        """Kill it and start it again where it was, on the same port. What waited in its pool is lost."""
        self.state = self.saved()
        self.kill()
        self.start()

    def ask(self, method: str, *params: Any) -> Any:
        """Return the result of a JSON-RPC method, anvil's own ones included."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310  # http
        with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # http
            answer = json.load(response)
        assert "result" in answer, answer
        return answer["result"]

    def block(self) -> int:
        return int(self.ask("eth_blockNumber"), 16)

    def mine(self, blocks: int = 1) -> None:
        self.ask("anvil_mine", hex(blocks))

    def reorganise(self, depth: int) -> None:
        """Replace the last blocks by empty ones; their transactions do not return to the pool."""
        self.ask("anvil_reorg", depth, [])

    def mines_at_once(self, is_so: bool) -> None:
        self.ask("evm_setAutomine", is_so)

    def set_base_fee(self, wei: int) -> None:
        """Set the base fee of the next block."""
        self.ask("anvil_setNextBlockBaseFeePerGas", hex(wei))

    def follow(self, clock: ManualClock) -> None:
        """Have blocks the time of a clock that a test moves, and a second more each while it stands still."""
        self.ask("anvil_setBlockTimestampInterval", 1)
        clock.is_moved = lambda time: self.ask("evm_setNextBlockTimestamp", time)
        clock.is_moved(clock.time)

    def waiting(self) -> list[dict[str, Any]]:
        """Return the transactions of the pool."""
        pool = self.ask("txpool_content")
        return [each for kind in ("pending", "queued") for by in pool[kind].values() for each in by.values()]

    def drop(self) -> None:
        """Forget all waiting transactions."""
        for each in self.waiting():
            self.ask("anvil_dropTransaction", each["hash"])


@contextmanager
def anvil(folder: Path, state: Path | None = None) -> Iterator[Anvil]:
    """Run a node, from a saved state or a new one, on which everybody of tests.doubles.evm can pay."""
    node = Anvil(folder, state)
    node.start()
    try:
        for each in EVERYBODY:
            node.ask("anvil_setBalance", "0x" + each.address.hex(), FUNDS)
        yield node
    finally:
        node.kill()
