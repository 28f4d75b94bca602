"""Where a node's RPC answers, as nodes write it themselves: a multiaddr such as /ip4/127.0.0.1/tcp/5001/http."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fedchain.core.errors import InputError

_FORM: Final = re.compile(
    r"/(?P<kind>ip4|ip6|dns|dns4|dns6)/(?P<host>[0-9A-Za-z.:_-]{1,253})/tcp/(?P<port>[0-9]{1,5})(/(?P<scheme>https?))?"
)
_EXPECTED: Final = "/ip4/127.0.0.1/tcp/5001/http, or /dns/HOST/tcp/PORT/https"


@dataclass(frozen=True, slots=True)
class KuboAddress:
    """The address of one RPC; `url` ends in a slash."""

    multiaddr: str
    url: str
    name: str

    @classmethod
    def parse(cls, text: str) -> KuboAddress:
        """Read a multiaddr.

        Raises:
            InputError: if it is none of a RPC over HTTP.
        """
        found = _FORM.fullmatch(text)
        if found is None or not 0 < int(found["port"]) < 1 << 16:
            raise InputError("the address of a store's node", expected=_EXPECTED, got=repr(text)[:80])
        host = f"[{found['host']}]" if found["kind"] == "ip6" else found["host"]
        name = f"{host}:{found['port']}"
        return cls(text, f"{found['scheme'] or 'http'}://{name}/api/v0/", name)
