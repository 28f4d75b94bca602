"""ipfshttpclient, held to answers of a sane size and depth.

As it is, it reads answers of any length, errors included, into memory, and parses them as deep as they go, which a node
could use to end the process (see fedchain.core.json_text). A hook on the response looks at them first.
"""

from __future__ import annotations

from typing import Final

import ipfshttpclient
import requests
from ipfshttpclient import http_requests

from fedchain.core import json_text

_BASE: Final = "api/v0"
_SENT_BYTES: Final = 1 << 20
"""At a time; by itself it sends a block in 128 pieces."""
_MOST_BYTES: Final = 1 << 20
"""Of the answer to a command: a line or two."""


class _BoundedHttp(http_requests.ClientSync):  # type: ignore[misc]  # the package ships no types
    def _make_session(self) -> requests.Session:
        session = requests.Session()  # its own subclass warns with today's urllib3 and will break with the next one
        session.headers.update(self._session_props["headers"])
        session.trust_env = False  # a line of ~/.netrc would replace the Authorization header
        session.hooks["response"].append(_bounded)
        return session


class BoundedClient(ipfshttpclient.Client):  # type: ignore[misc]  # the package ships no types
    """A client of the RPC at `multiaddr`, of whatever version: `ipfshttpclient.connect` refuses today's."""

    def __init__(self, multiaddr: str, headers: dict[str, str], timeout_s: float) -> None:
        super().__init__(multiaddr, _BASE, chunk_size=_SENT_BYTES, offline=True, headers=headers, timeout=timeout_s)
        self._client = _BoundedHttp(multiaddr, _BASE, offline=True, headers=headers, timeout=timeout_s)


def _bounded(response: requests.Response, **_: object) -> None:
    """Put what the response may be parsed from in the place of its body: nothing, where that is no JSON."""
    body = bytearray()
    for part in response.iter_content(1 << 16):
        body += part
        if len(body) > _MOST_BYTES:
            response.close()
            raise OSError(f"an answer of more than {_MOST_BYTES} bytes")
    try:
        json_text.parse(bytes(body))
    except ValueError:
        body.clear()
    response._content = bytes(body)  # noqa: SLF001 - requests has no other way to give a body back
