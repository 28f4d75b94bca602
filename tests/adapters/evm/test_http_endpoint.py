"""One node over HTTP: the deadline is on the whole request, the answer has a limit, the address keeps its secrets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from fedchain.adapters.evm import http_endpoint
from fedchain.adapters.evm.http_endpoint import EndpointError, HttpEndpoint
from fedchain.core.errors import InputError

BODY = b'{"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}'
OK = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[HttpEndpoint]:
    """Take one connection, read the request, and have it answered."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            answer(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield HttpEndpoint.parse(f"http://127.0.0.1:{listener.getsockname()[1]}/key-4711")
    finally:
        thread.join(5)
        listener.close()


def _says(text: bytes, status: bytes = OK) -> Callable[[socket.socket], None]:
    length = f"Content-Length: {len(text)}\r\n\r\n".encode()
    return lambda connection: connection.sendall(status + length + text)


def test_an_answer_is_returned() -> None:
    with server(_says(b'{"jsonrpc": "2.0", "id": 1, "result": "0x1"}')) as endpoint:
        assert endpoint.ask(BODY, 5.0)["result"] == "0x1"


def test_an_error_is_an_answer_whatever_its_status() -> None:
    text = b'{"jsonrpc": "2.0", "id": 1, "error": {"code": -32005, "message": "range"}}'
    with server(_says(text, b"HTTP/1.1 400 Bad Request\r\n")) as endpoint:
        assert endpoint.ask(BODY, 5.0)["error"]["code"] == -32005


@pytest.mark.parametrize(
    "text", [b"", b"nonsense", b"[]", b"5", b"{}", b'{"result": 1, "error": {}}', b"[" * 100_000, b"\xff\xfe"]
)
def test_what_is_no_response_is_an_error(text: bytes) -> None:
    with server(_says(text)) as endpoint, pytest.raises(EndpointError):
        endpoint.ask(BODY, 5.0)


@pytest.mark.parametrize("status", [b"503 Service Unavailable", b"429 Too Many Requests", b"302 Found"])
def test_a_server_that_is_busy_or_points_elsewhere_is_an_error(status: bytes) -> None:
    answer = _says(b'{"result": 1}', b"HTTP/1.1 " + status + b"\r\n")
    with server(answer) as endpoint, pytest.raises(EndpointError, match=f"HTTP {status[:3].decode()}"):
        endpoint.ask(BODY, 5.0)


@pytest.mark.parametrize("start", [b"", OK, OK + b"Content-Length: 1000000\r\n\r\n"])
def test_a_byte_now_and_then_does_not_put_the_deadline_off(start: bytes) -> None:
    """In the status line, in the headers, and in the body."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.settimeout(0.05)
        is_open = True
        while is_open:
            try:
                connection.sendall(b"a")
                is_open = connection.recv(1) != b""
            except TimeoutError:
                continue
            except OSError:
                is_open = False

    started = time.monotonic()
    with server(drip) as endpoint:
        with pytest.raises(EndpointError, match=r"no answer within 0\.3 s"):
            endpoint.ask(BODY, 0.3)
        assert time.monotonic() - started < 3


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_endpoint, "MOST_BYTES", 1000)
    endless = _says(b'{"result": "' + b"a" * 2000 + b'"}')
    with server(endless) as endpoint, pytest.raises(EndpointError, match="longer than 1000 bytes"):
        endpoint.ask(BODY, 5.0)


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(EndpointError, match="refused"):
        HttpEndpoint.parse("http://127.0.0.1:9").ask(BODY, 5.0)


def test_the_key_in_an_address_is_in_no_name() -> None:
    endpoint = HttpEndpoint.parse("https://node.example/v3/key-4711?token=4712")
    assert endpoint.name == "https://node.example:443"


@pytest.mark.parametrize(
    "address",
    ["", "node.example", "ftp://node.example", "http://", "http://a:99999", "http://user:secret@node.example"],
)
def test_what_is_no_address_is_refused_without_showing_its_secrets(address: str) -> None:
    with pytest.raises(InputError, match="ledger endpoint") as raised:
        HttpEndpoint.parse(address)
    assert "secret" not in str(raised.value)
