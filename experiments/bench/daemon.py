"""A node of IPFS that others wrote, js-ipfs, in a process of its own; `make daemon` installs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "tests" / "daemon"
PROGRAM: Final = FOLDER / "node_modules" / "ipfs" / "src" / "cli.js"
_ANYWHERE: Final = "/ip4/127.0.0.1/tcp/0"
_INIT_S: Final = 120


@dataclass(slots=True)
class DaemonProcess:
    """A node with its files under `folder`; without an `address` it takes a free port of this machine."""

    folder: Path
    address: str = ""
    process: subprocess.Popen[str] = field(init=False)
    reader: threading.Thread = field(init=False)

    def start(self) -> None:
        """Return when it listens; it has no peer and looks for none.

        Raises:
            RuntimeError: if it is not installed or does not start.
        """
        if not PROGRAM.exists():
            raise RuntimeError(f"expected {PROGRAM}, got no such file: run `make daemon` once")
        if not (self.folder / "config").exists():
            self._init()
        self.process = subprocess.Popen(  # noqa: S603 - our own script and node
            self._command("daemon", "--offline"), env=self._environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        said: list[str] = []
        for line in self.process.stdout or ():
            said.append(line)
            if found := re.match(r"HTTP API listening on (\S+)", line):
                self.address = found[1]
            if line.startswith("Daemon is ready"):
                self.reader = threading.Thread(target=deque, args=(self.process.stdout, 0), daemon=True)
                self.reader.start()
                return
        raise RuntimeError("".join(said))

    def stop(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _init(self) -> None:
        subprocess.run(  # noqa: S603 - our own script and node
            self._command("init", "--empty-repo"), env=self._environment(), check=True, timeout=_INIT_S,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        path = self.folder / "config"
        listen = self.address.removesuffix("/http") or _ANYWHERE
        config = json.loads(path.read_text()) | {
            "Addresses": {"Swarm": [], "API": listen, "Gateway": _ANYWHERE, "RPC": _ANYWHERE},
            "Bootstrap": [],
            "Pubsub": {"Enabled": False},
        }
        path.write_text(json.dumps(config))

    def _command(self, *words: str) -> list[str]:
        older_node = ["--import", str(FOLDER / "older_node.mjs")]
        return [str(ROOT / "scripts" / "with_node.sh"), sys.prefix, "node", *older_node, str(PROGRAM), *words]

    def _environment(self) -> dict[str, str]:
        return os.environ | {"IPFS_PATH": str(self.folder)}


@contextmanager
def running(node: DaemonProcess) -> Iterator[None]:
    """Run a node for the block."""
    node.start()
    try:
        yield
    finally:
        node.stop()
