"""Names and bytes are the same here, on a node and in an importer that others wrote; CAR files go both ways."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from random import Random
from typing import IO

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from fedchain.adapters.kubo.client import BoundedClient
from fedchain.adapters.kubo.store import KuboStore
from fedchain.core.cid import CHUNK_BYTES, Cid, cid_of
from fedchain.workflow.car_files import read_car, write_car
from tests.doubles.daemon import FOLDER, ROOT, Daemon
from tests.doubles.store import MemoryStore

pytestmark = pytest.mark.slow
KIB, MIB = 1 << 10, 1 << 20
SIZES = [0, 1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, MIB - 1, MIB, MIB + 1, 10 * MIB]
TWO_HUNDRED = 200


def noise(chunks: int) -> Iterator[bytes]:
    """Chunks of 1 MiB that nobody has seen, the same each time."""
    stream = Cipher(algorithms.ChaCha20(sha256(b"200 MiB").digest(), bytes(16)), None).encryptor()
    for _ in range(chunks):
        yield stream.update(bytes(CHUNK_BYTES))


def posted(node: Daemon, command: str, cid: Cid) -> httpx.Response:
    """Ask the node past our own client."""
    return httpx.post(f"{node.node().address.url}{command}", params={"arg": cid.text}, timeout=60)


def importer_root(feed: Iterator[bytes]) -> str:
    command = [str(ROOT / "scripts" / "with_node.sh"), sys.prefix, "node", str(FOLDER / "root.mjs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        source: IO[bytes] | None = process.stdin
        assert source is not None
        for part in feed:
            source.write(part)
        said, _ = process.communicate()
    return said.decode().strip()


@pytest.mark.parametrize("size", SIZES)
def test_the_node_gives_the_name_that_we_give_and_the_bytes_that_we_gave(ipfs: Daemon, size: int) -> None:
    data = Random(size).randbytes(size)
    with BoundedClient(ipfs.address, {}, 60) as client:
        added = client.add(
            BytesIO(data), cid_version=1, raw_leaves=True, chunker="size-1048576", pin=False,
            opts={"max-file-links": "1024", "cid-base": "base32"},
        )  # fmt: skip
    store = KuboStore(ipfs.node())
    assert store.put(data).text == added["Hash"] == cid_of(data).text
    assert posted(ipfs, "cat", cid_of(data)).content == data
    assert importer_root(iter([data])) == cid_of(data).text


def test_two_hundred_mebibytes_have_the_name_that_another_implementation_gives(ipfs: Daemon) -> None:
    """200 links are more than the 174 that nodes take where nobody tells them otherwise."""
    store = KuboStore(ipfs.node(60))
    cid = store.put_stream(noise(TWO_HUNDRED))
    assert cid.text == importer_root(noise(TWO_HUNDRED))
    with BoundedClient(ipfs.address, {}, 60) as client:
        assert client.pin.ls(cid.text, type="recursive", opts={"cid-base": "base32"})["Keys"]
    for ours, kept in zip(noise(TWO_HUNDRED), store.chunks(cid), strict=True):
        assert ours == kept
    store.remove(cid)


@pytest.mark.parametrize("size", SIZES)
def test_a_node_pins_from_our_car_alone_and_exports_the_same_one(ipfs: Daemon, size: int) -> None:
    memory = MemoryStore()
    cid = memory.put(Random(f"car {size}").randbytes(size))
    ours = BytesIO()
    write_car(memory, [cid], ours.write)
    node = KuboStore(ipfs.node())
    node.remove(cid)
    with BoundedClient(ipfs.address, {}, 60) as client:
        imported = client.dag.imprt(BytesIO(ours.getvalue()), opts={"pin-roots": "true", "cid-base": "base32"})
    assert imported["Root"]["Cid"]["/"] == cid.text
    assert node.has(cid)
    assert node.get(cid) == memory.get(cid)
    theirs = posted(ipfs, "dag/export", cid).content
    assert theirs == ours.getvalue()
    again = MemoryStore()
    assert read_car(BytesIO(theirs), again) == (cid,)
    assert again.artifacts == memory.artifacts


def test_a_car_of_many_artifacts_is_pinned_whole(ipfs: Daemon) -> None:
    memory = MemoryStore()
    roots = [memory.put(Random(f"many {number}").randbytes(number * 700_000)) for number in range(1, 5)]
    ours = BytesIO()
    write_car(memory, roots, ours.write)
    with httpx.Client(timeout=60) as client:
        url = f"{ipfs.node().address.url}dag/import"
        answer = client.post(url, params={"pin-roots": "true"}, files={"file": ours.getvalue()})
    assert answer.status_code == 200
    node = KuboStore(ipfs.node())
    assert set(roots) <= set(node.cids())
    assert [node.get(root) for root in roots] == [memory.get(root) for root in roots]
