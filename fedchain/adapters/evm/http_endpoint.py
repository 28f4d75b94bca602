"""One JSON-RPC node over HTTP, with a deadline on the whole request and a limit on the answer.

A deadline on each read, as HTTP libraries have it, is none: a node that sends a byte a second would hold us for ever.
Here a timer shuts the socket. Addresses often carry an access key in their path, so errors name the host only.
"""

from __future__ import annotations

import functools
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from fedchain.core import json_text
from fedchain.core.errors import InputError

MOST_BYTES: Final = 64 * 2**20
_TRY_LATER: Final = frozenset({408, 425, 429})


class EndpointError(OSError):
    """An endpoint gave no answer, in words that follow its name."""


@dataclass(frozen=True, slots=True)
class HttpEndpoint:
    """A node's address, taken apart; `name` is what may be shown of it."""

    url: SplitResult
    name: str

    @classmethod
    def parse(cls, address: str) -> HttpEndpoint:
        """Return the endpoint of an address.

        Raises:
            InputError: if it is no http(s) address, or carries a user and password.
        """
        url = urlsplit(address)
        name = f"{url.scheme}://{url.hostname}:{_port(url)}"
        if url.scheme not in {"http", "https"} or not url.hostname or url.username is not None:
            raise InputError("ledger endpoint", expected="http(s)://HOST[:PORT][/PATH]", got=f"{url.scheme}:...")
        return cls(url, name)

    def ask(self, body: bytes, timeout_s: float) -> Any:  # noqa: ANN401  # a node may answer anything
        """Post a request and return the parsed answer.

        Raises:
            EndpointError: if there is none in time, it is no HTTP 200, too long, or no JSON object.
        """
        connection = self._connection(timeout_s)
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            with suppress(OSError, AttributeError):  # it ended by itself meanwhile
                connection.sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(timeout_s, expire)
        timer.daemon = True
        try:
            connection.connect()
            timer.start()
            answer = json_text.parse(self._post(connection, body))
        except EndpointError:
            raise
        except (OSError, HTTPException, ValueError) as error:
            late = expired.is_set() or isinstance(error, TimeoutError)
            reason = f"no answer within {timeout_s:g} s" if late else " ".join(str(error).split()) or repr(error)
            raise EndpointError(reason[:200]) from error
        finally:
            timer.cancel()
            connection.close()
        if not isinstance(answer, dict) or not ("result" in answer) ^ ("error" in answer):
            raise EndpointError("answer is no JSON-RPC response")
        return answer

    def _connection(self, timeout_s: float) -> HTTPConnection:
        host, port = self.url.hostname or "", _port(self.url)
        if self.url.scheme == "https":
            return HTTPSConnection(host, port, timeout=timeout_s, context=_tls())
        return HTTPConnection(host, port, timeout=timeout_s)

    def _post(self, connection: HTTPConnection, body: bytes) -> bytes:
        path = (self.url.path or "/") + (f"?{self.url.query}" if self.url.query else "")
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read(MOST_BYTES + 1)
        # Some nodes give their JSON-RPC errors the status of a bad request.
        if response.status != 200 and not (400 <= response.status < 500 and response.status not in _TRY_LATER):
            raise EndpointError(f"HTTP {response.status}")
        if len(text) > MOST_BYTES:
            raise EndpointError(f"answer is longer than {MOST_BYTES} bytes")
        return text


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _port(url: SplitResult) -> int:
    try:
        return url.port or (443 if url.scheme == "https" else 80)
    except ValueError as error:
        raise InputError("ledger endpoint", expected="a port from 1 to 65535", got=error) from error
