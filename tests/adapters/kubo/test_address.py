from __future__ import annotations

import pytest

from fedchain.adapters.kubo.address import KuboAddress
from fedchain.core.errors import InputError


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/ip4/127.0.0.1/tcp/5001", "http://127.0.0.1:5001/api/v0/"),
        ("/ip4/127.0.0.1/tcp/5001/http", "http://127.0.0.1:5001/api/v0/"),
        ("/ip6/::1/tcp/5001/http", "http://[::1]:5001/api/v0/"),
        ("/dns/ipfs.example.org/tcp/443/https", "https://ipfs.example.org:443/api/v0/"),
        ("/dns4/a_b.example/tcp/1/http", "http://a_b.example:1/api/v0/"),
    ],
)
def test_an_address_is_read_as_nodes_write_it(text: str, url: str) -> None:
    address = KuboAddress.parse(text)
    assert address.url == url
    assert address.name == url.split("/")[2]


@pytest.mark.parametrize(
    "text",
    [
        "", "http://127.0.0.1:5001", "/ip4/127.0.0.1", "/ip4/127.0.0.1/udp/5001", "/ip4/a@b/tcp/5001", "/unix/socket",
        "/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/tcp/65536", "/ip4/127.0.0.1/tcp/5001/http/p2p/x", "/dns/a/../b/tcp/1",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="the address of a store's node"):
        KuboAddress.parse(text)
