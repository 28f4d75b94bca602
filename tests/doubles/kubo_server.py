"""A test double of a node of IPFS: the few commands of its RPC that the store uses, in this process, over real HTTP.

It stands in where a real node would cost seconds, and where a node has to misbehave. Its answers have the form of
Kubo's; what a real one answers is tested with tests/doubles/daemon.py.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.rpc import KuboNode
from fedchain.adapters.kubo.store import KuboStore
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, decode_node

_CODECS: Final = {"raw": RAW, "dag-pb": DAG_PB}
_MOST_BODY: Final = 2 * CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire."""

    status: int
    body: bytes


def _ok(value: object) -> Answer:
    return Answer(200, json.dumps(value).encode())


def _failed(message: str) -> Answer:
    return Answer(500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode())


_NOT_HERE: Final = _failed("block was not found locally (offline)")
Fault = Callable[["KuboServer", str, Answer, BaseHTTPRequestHandler], bool]
"""Answers a command in its own way and tells so, or leaves it to the honest node."""


@dataclass(slots=True)
class KuboServer:
    """An honest node until `fault` is set; `blocks` and `pins` are open to tests that damage or lose one."""

    port: int = 0
    blocks: dict[bytes, bytes] = field(default_factory=dict)
    pins: set[str] = field(default_factory=set)
    fault: Fault | None = None
    asked: list[str] = field(default_factory=list)
    authorizations: set[str | None] = field(default_factory=set)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        return f"/ip4/127.0.0.1/tcp/{self.port}/http"

    def store(self, timeout_s: float = 5, authorization: str | None = None) -> KuboStore:
        return KuboStore(KuboNode(KuboAddress.parse(self.address), authorization, timeout_s))

    def forge(self, cid: Cid, data: bytes) -> None:
        """Put other bytes in the place of an artifact: chunk for chunk, what is too much behind the last one."""
        leaves = [cid] if cid.codec == RAW else [link.cid for link in decode_node(self.blocks[cid.digest])]
        ends = [CHUNK_BYTES * number for number in range(1, len(leaves))]
        for leaf, start, end in zip(leaves, [0, *ends], [*ends, None], strict=True):
            if sha256(data[start:end]).digest() != leaf.digest:
                self.blocks[leaf.digest] = data[start:end]

    def answer(self, command: str, query: dict[str, str], body: bytes) -> Answer:
        """What an honest node answers."""
        with self.lock:
            match command:
                case "version":
                    return _ok({"Version": "0.0.0-double"})
                case "block/put":
                    cid = Cid(_CODECS[query["format"]], sha256(body).digest())
                    self.blocks.setdefault(cid.digest, body)  # as Kubo, which keeps a block that it has
                    return _ok({"Key": cid.text, "Size": len(body)})
                case "pin/ls" if "arg" not in query:
                    return _ok({"Keys": {name: {"Type": "recursive"} for name in sorted(self.pins)}})
                case _:
                    return self._about(command, Cid.parse(query["arg"]), query)

    def _about(self, command: str, cid: Cid, query: dict[str, str]) -> Answer:
        if command.startswith("pin/"):
            return self._about_pin(command, cid, query)
        if command == "block/rm":
            if self._owner(cid) is None:
                self.blocks.pop(cid.digest, None)
            return _ok({"Hash": cid.text})
        return Answer(200, self.blocks[cid.digest]) if cid.digest in self.blocks else _NOT_HERE

    def _about_pin(self, command: str, cid: Cid, query: dict[str, str]) -> Answer:
        if command == "pin/add":
            if any(block not in self.blocks for block in self._below(cid)):
                return _NOT_HERE
            self.pins.add(cid.text)
            return _ok({"Pins": [cid.text]})
        if cid.text in self.pins:
            if command == "pin/rm":
                self.pins.discard(cid.text)
                return _ok({"Pins": [cid.text]})
            return _ok({"Keys": {cid.text: {"Type": "recursive"}}})
        owner = self._owner(cid) if query.get("type") == "all" else None
        if owner is None:
            return _failed(f"path '{cid}' is not pinned")
        return _ok({"Keys": {cid.text: {"Type": f"indirect through {owner}"}}})

    def _owner(self, cid: Cid) -> str | None:
        return next((name for name in self.pins if cid.digest in self._below(Cid.parse(name))), None)

    def _below(self, cid: Cid) -> set[bytes]:
        found = {cid.digest}
        if cid.codec == DAG_PB and cid.digest in self.blocks:
            found |= set[bytes]().union(*(self._below(link.cid) for link in decode_node(self.blocks[cid.digest])))
        return found


@contextmanager
def kubo_server(fault: Fault | None = None) -> Iterator[KuboServer]:
    """Serve a node."""
    node = KuboServer(fault=fault)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            url = urlsplit(self.path)
            command = url.path.removeprefix("/api/v0/")
            query = {name: values[-1] for name, values in parse_qs(url.query).items()}
            body = _file_of(self) if self.headers.get("Transfer-Encoding") == "chunked" else b""
            node.asked.append(command)
            node.authorizations.add(self.headers.get("Authorization"))
            answer = node.answer(command, query, body)
            if node.fault is None or not node.fault(node, command, answer, self):
                send(self, answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name there
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # who hangs up is no news
    node.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield node
    finally:
        node.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def send(handler: BaseHTTPRequestHandler, answer: Answer, length: int | None = None) -> None:
    """Send an answer whole, under a length that may be another one."""
    handler.send_response(answer.status)
    handler.send_header("Content-Length", str(len(answer.body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(answer.body)
    handler.wfile.flush()


def wrong_bytes(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Gives back other bytes than it was given, with a smile."""
    if command != "block/get":
        return False
    send(handler, Answer(200, bytes([answer.body[0] ^ 1]) + answer.body[1:] if answer.body else b"\1"))
    return True


def truncated(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Breaks off in the middle of each answer."""
    send(handler, Answer(200, answer.body[: len(answer.body) // 2]), len(answer.body))
    handler.close_connection = True
    return True


def hanging(node: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Takes every request and never answers."""
    node.released.wait()
    handler.close_connection = True
    return True


def failing(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Answers everything with an error 500."""
    send(handler, _failed("something went wrong"))
    return True


def dripping(node: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Answers byte by byte, faster than any read would time out, without an end."""
    handler.send_response(200)
    handler.end_headers()
    while not node.released.wait(0.05):
        handler.wfile.write(b" ")
        handler.wfile.flush()
    handler.close_connection = True
    return True


def dripping_headers(node: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Does the same before the first line is whole."""
    handler.wfile.write(b"HTTP/1.1 200 O")
    while not node.released.wait(0.05):
        handler.wfile.write(b"K")
        handler.wfile.flush()
    handler.close_connection = True
    return True


def full(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Has no room for another block."""
    if command != "block/put":
        return False
    send(handler, _failed("write /data/blocks/put-1: no space left on device"))
    return True


def flooding(node: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Answers without end, as fast as it can."""
    handler.send_response(200)
    handler.end_headers()
    while not node.released.is_set():
        handler.wfile.write(b" " * 65_536)
    handler.close_connection = True
    return True


def nesting(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Answers with JSON so deep that parsing it would end the process."""
    send(handler, Answer(500, b"[" * 200_000))
    return True


def refusing(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Wants another authorization."""
    send(handler, Answer(403, b"403 - Access Denied"))
    return True


def misnaming(_: KuboServer, command: str, answer: Answer, handler: BaseHTTPRequestHandler) -> bool:
    """Names what it is given otherwise."""
    if command != "block/put":
        return False
    send(handler, _ok({"Key": Cid(RAW, bytes(32)).text, "Size": 0}))
    return True


def _file_of(handler: BaseHTTPRequestHandler) -> bytes:
    """The one file of a multipart form in chunked encoding."""
    body = _unchunked(handler.rfile)
    boundary = re.search(r'boundary="?([^";]+)', handler.headers["Content-Type"])
    assert boundary is not None
    part = body.split(b"--" + boundary[1].encode(), 1)[1]
    content = part.split(b"\r\n\r\n", 1)[1]
    return content[: content.rindex(b"\r\n--" + boundary[1].encode())]


def _unchunked(source: BufferedIOBase) -> bytes:
    body = bytearray()
    while size := int(source.readline(), 16):
        body += source.read(size)
        source.readline()
        assert len(body) < _MOST_BODY
    source.readline()
    return bytes(body)
