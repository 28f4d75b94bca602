"""An HTTP proxy before a JSON-RPC node that refuses, fails, dawdles or lies as a test tells it."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Change = Callable[[Any], Any]
"""Takes the response of the node and gives the one that is passed on."""


@dataclass(slots=True)
class RpcProxy:
    """Passes everything on, until one of its members is set."""

    target: str
    port: int = 0
    status: int = 200
    is_down: bool = False
    loses: set[str] = field(default_factory=set)
    withholds: set[str] = field(default_factory=set)
    changes: dict[str, Change] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    is_slow: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, request: Any) -> Any:
        """Return the response to one request; None where the connection breaks instead."""
        method = request["method"]
        self.asked.append(method)
        if self.is_down or method in self.withholds:
            return None
        body = json.dumps(request).encode()
        to_node = urllib.request.Request(self.target, body, {"Content-Type": "application/json"})  # noqa: S310  # http
        with urllib.request.urlopen(to_node, timeout=30) as response:  # noqa: S310  # http
            answer = json.load(response)
        if method in self.loses:
            return None
        return self.changes.get(method, lambda same: same)(answer)


@contextmanager
def rpc_proxy(target: str) -> Iterator[RpcProxy]:
    """Serve a proxy to the node at `target`."""
    proxy = RpcProxy(target)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if proxy.status != 200:
                self.send_error(proxy.status)
                return
            answer = proxy.answer(request)
            if answer is None:
                self.close_connection = True
                return
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + proxy.is_slow))
            self.end_headers()
            self.wfile.write(body)
            if proxy.is_slow:  # the last byte does not come
                self.wfile.flush()
                proxy.released.wait()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is no news
    proxy.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def result(value: object) -> Change:
    """Answer something else."""
    return lambda answer: {"jsonrpc": "2.0", "id": answer["id"], "result": value}


def error(code: int, message: str) -> Change:
    """Answer with an error."""
    return lambda answer: {"jsonrpc": "2.0", "id": answer["id"], "error": {"code": code, "message": message}}
