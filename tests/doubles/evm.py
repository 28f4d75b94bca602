"""Two deployed contracts on an embedded chain, and everybody who acts on them."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from web3.types import RPCEndpoint

from fedchain.adapters.evm.chain import EmbeddedChain, Genesis
from fedchain.adapters.evm.deployment import Terms, deploy, embedded_node
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain
from fedchain.adapters.evm.provider import EmbeddedProvider
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerIdentity
from tests.doubles.clock import ManualClock
from tests.doubles.signer import NamedSigner

CHAIN_ID: Final = 31_337
FEDERATION: Final = b"\xfe" * 32
DEPLOYER, OPERATOR, ADMIN, AGGREGATOR, RELAYER, STRANGER, SITE, OTHER_SITE = (
    NamedSigner(name)
    for name in ("deployer", "operator", "admin", "aggregator", "relayer", "stranger", "site", "other site")
)
EVERYBODY: Final = (DEPLOYER, OPERATOR, ADMIN, AGGREGATOR, RELAYER, STRANGER, SITE, OTHER_SITE)
TERMS: Final = Terms(FEDERATION, OPERATOR.address, ADMIN.address, AGGREGATOR.address)
GENESIS: Final = Genesis(CHAIN_ID, 1_700_000_000, [each.address for each in EVERYBODY])


@dataclass(frozen=True, slots=True)
class Deployed:
    """A chain with both contracts."""

    chain: EmbeddedChain
    node: Node
    identity: LedgerIdentity


@contextmanager
def deployed(path: Path, clock: Clock) -> Iterator[Deployed]:
    """Open the chain at `path`, which has both contracts: those of an earlier call, or new ones."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_freshly_deployed())
    chain = open_chain(path, GENESIS, clock)
    try:
        node = embedded_node(chain)
        yield Deployed(chain, node, deploy(node, DEPLOYER, TERMS))
    finally:
        chain.close()


@functools.cache
def _freshly_deployed() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "chain.sqlite"
        chain = open_chain(path, GENESIS, ManualClock(GENESIS.timestamp))
        deploy(embedded_node(chain), DEPLOYER, TERMS)
        chain.close()
        return path.read_bytes()


@contextmanager
def served(chain: EmbeddedChain) -> Iterator[str]:
    """Serve a chain over HTTP, as a node that does not report the times of logs; give its address."""
    provider = EmbeddedProvider(chain)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = cast("dict[str, Any]", provider.make_request(RPCEndpoint(request["method"]), request["params"]))
            body = json.dumps(_without_times(answer) | {"id": request["id"]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key != "blockTimestamp"}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
