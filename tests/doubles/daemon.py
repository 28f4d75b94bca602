"""A node of IPFS that others wrote, in a process of its own: js-ipfs, which speaks the RPC of Kubo.

It is installed by `make daemon`. Where the variable KUBO_API names the multiaddr of a node, that one is tested instead;
what is pinned there is lost, so let it be a node that nobody needs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from base64 import b32encode
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.client import BoundedClient
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.core.cid import CHUNK_BYTES, RAW, Cid, decode_node

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "tests" / "daemon"
PROGRAM: Final = FOLDER / "node_modules" / "ipfs" / "src" / "cli.js"
KUBO_API: Final = os.environ.get("KUBO_API")


@dataclass(slots=True)
class Daemon:
    """A running node, with its files under `folder`."""

    folder: Path
    address: str = ""
    process: subprocess.Popen[str] = field(init=False)
    reader: threading.Thread = field(init=False)

    def node(self, timeout_s: float = 30) -> KuboNode:
        return KuboNode(KuboAddress.parse(self.address), None, timeout_s)

    def block_file(self, cid: Cid) -> Path:
        """The file of a block: `next-to-last/2` under the base32 of its multihash."""
        if KUBO_API is not None:
            pytest.skip("the files of the node at KUBO_API are not ours to alter")
        key = b32encode(cid.binary[2:]).decode().rstrip("=")
        return self.folder / "blocks" / key[-3:-1] / f"{key}.data"

    def forge(self, cid: Cid, data: bytes) -> None:
        """Put other bytes in the place of an artifact: chunk for chunk, what is too much behind the last one."""
        leaves = [cid] if cid.codec == RAW else [link.cid for link in decode_node(self.block_file(cid).read_bytes())]
        ends = [CHUNK_BYTES * number for number in range(1, len(leaves))]
        for leaf, start, end in zip(leaves, [0, *ends], [*ends, None], strict=True):
            if sha256(data[start:end]).digest() != leaf.digest:
                self.block_file(leaf).write_bytes(data[start:end])

    def forget(self, cid: Cid) -> None:
        """Unpin an artifact, as an operator might."""
        with BoundedClient(self.address, {}, 30) as client:
            client.pin.rm(cid.text)

    def forget_all(self) -> None:
        """Unpin everything."""
        with BoundedClient(self.address, {}, 30) as client:
            for name in client.pin.ls(type="recursive")["Keys"]:
                client.pin.rm(name)

    def start(self) -> None:
        """Return when it listens; it has no peer and looks for none."""
        assert PROGRAM.exists(), f"expected {PROGRAM}, got no such file: run `make daemon` once"
        if not (self.folder / "config").exists():
            subprocess.run(self._command("init", "--empty-repo"), env=self._environment(), check=True, timeout=120)
            path = self.folder / "config"
            listen = self.address.removesuffix("/http") or "/ip4/127.0.0.1/tcp/0"
            anywhere = "/ip4/127.0.0.1/tcp/0"
            config = json.loads(path.read_text()) | {
                "Addresses": {"Swarm": [], "API": listen, "Gateway": anywhere, "RPC": anywhere},
                "Bootstrap": [],
                "Pubsub": {"Enabled": False},
            }
            path.write_text(json.dumps(config))
        self.process = subprocess.Popen(
            self._command("daemon", "--offline"), env=self._environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert self.process.stdout is not None
        said = []
        for line in self.process.stdout:
            said.append(line)
            if found := re.match(r"HTTP API listening on (\S+)", line):
                self.address = found[1]
            if line.startswith("Daemon is ready"):
                self.reader = threading.Thread(target=deque, args=(self.process.stdout, 0), daemon=True)
                self.reader.start()
                return
        raise AssertionError("".join(said))

    def stop(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _command(self, *words: str) -> list[str]:
        older_node = ["--import", str(FOLDER / "older_node.mjs")]
        return [str(ROOT / "scripts" / "with_node.sh"), sys.prefix, "node", *older_node, str(PROGRAM), *words]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"IPFS_PATH": str(self.folder)}


@contextmanager
def daemon(folder: Path) -> Iterator[Daemon]:
    """A node for as long as the block."""
    if KUBO_API is not None:
        yield Daemon(folder, KUBO_API)
        return
    node = Daemon(folder)
    node.start()
    try:
        yield node
    finally:
        node.stop()
