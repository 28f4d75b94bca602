"""A node that fails, dawdles or lies, over real HTTP: an error of ours in time, and nothing half-written."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from random import Random

import pytest

from fedchain.adapters.kubo.store import KuboStore
from fedchain.core.cid import CHUNK_BYTES, Cid, cid_of
from fedchain.core.errors import FedchainError, InputError, IntegrityError, UnreachableError
from tests.doubles import kubo_server as faults
from tests.doubles.kubo_server import Fault, KuboServer, kubo_server

DATA = Random(1).randbytes(CHUNK_BYTES + 7)
ROOT = cid_of(DATA)
TIMEOUT_S = 0.5
ASK: dict[str, Callable[[KuboStore], object]] = {
    "put": lambda store: store.put(DATA),
    "get": lambda store: store.get(ROOT),
    "chunks": lambda store: list(store.chunks(ROOT)),
    "chunk": lambda store: store.chunk(ROOT, lambda _: 1),
    "has": lambda store: store.has(ROOT),
    "cids": lambda store: list(store.cids()),
    "remove": lambda store: store.remove(ROOT),
    "version": lambda store: store.version(),
}


def refused(node: KuboServer, ask: str, timeout_s: float = TIMEOUT_S) -> FedchainError:
    """Ask a node that has the artifact, and return the error, which has to come in time."""
    store = node.store(timeout_s)
    before = time.monotonic()
    with pytest.raises(FedchainError) as caught:
        ASK[ask](store)
    assert time.monotonic() - before < 8 * timeout_s + 2  # a few requests, and a slow machine
    return caught.value


@pytest.mark.parametrize("ask", ["put", "get", "cids"])
@pytest.mark.parametrize("fault", [faults.hanging, faults.dripping, faults.dripping_headers, faults.flooding])
def test_a_node_that_never_ends_its_answer_is_unreachable(fault: Fault, ask: str) -> None:
    with kubo_server() as node:
        node.store().put(DATA)
        node.fault = fault
        assert isinstance(refused(node, ask), UnreachableError)


@pytest.mark.parametrize("ask", ["put", "get", "has", "cids", "remove", "version"])
@pytest.mark.parametrize("fault", [faults.failing, faults.nesting])
def test_a_node_that_answers_with_errors_is_unreachable(fault: Fault, ask: str) -> None:
    with kubo_server() as node:
        node.store().put(DATA)
        node.fault = fault
        error = refused(node, ask)
        assert isinstance(error, UnreachableError)
        assert f"127.0.0.1:{node.port}" in str(error)


@pytest.mark.parametrize("ask", ["put", "get", "chunks", "chunk", "has", "cids"])
def test_an_answer_that_breaks_off_is_unreachable(ask: str) -> None:
    with kubo_server() as node:
        node.store().put(DATA)
        node.fault = faults.truncated
        assert isinstance(refused(node, ask), UnreachableError)


@pytest.mark.parametrize("ask", ["put", "get", "chunks", "chunk"])
def test_wrong_bytes_are_an_integrity_error_that_names_the_artifact(ask: str) -> None:
    with kubo_server() as node:
        node.store().put(DATA)
        node.fault = faults.wrong_bytes
        error = refused(node, ask)
        assert isinstance(error, IntegrityError)
        if ask != "put":
            assert error.expected == ROOT.text


@pytest.mark.parametrize("ask", ASK)
def test_a_node_that_is_down_is_unreachable(ask: str) -> None:
    with kubo_server() as node:
        store = node.store(TIMEOUT_S)
    with pytest.raises(UnreachableError, match="gives no answer"):
        ASK[ask](store)


def test_a_full_node_is_told_as_a_full_disk_and_pins_nothing() -> None:
    with kubo_server(faults.full) as node:
        error = refused(node, "put")
        assert isinstance(error, InputError)
        assert "no room on" in str(error)
        assert node.pins == set()


def test_a_node_that_names_a_block_otherwise_is_not_believed() -> None:
    with kubo_server(faults.misnaming) as node:
        assert isinstance(refused(node, "put"), IntegrityError)
        assert node.pins == set()


@pytest.mark.parametrize("ask", ["put", "get", "has", "cids"])
def test_a_node_that_refuses_the_authorization_is_an_input_error(ask: str) -> None:
    with kubo_server(faults.refusing) as node:
        error = refused(node, ask)
        assert isinstance(error, InputError)
        assert "authorization" in str(error)


def test_the_authorization_goes_with_every_request_and_into_no_message() -> None:
    with kubo_server() as node:
        store = node.store(authorization="Bearer s3cret")
        store.put(DATA)
        store.get(ROOT)
        list(store.cids())
        store.remove(ROOT)
        assert node.authorizations == {"Bearer s3cret"}
        node.fault = faults.failing
        with pytest.raises(UnreachableError) as caught:
            store.get(ROOT)
        assert "s3cret" not in str(caught.value)


def test_nothing_is_visible_until_all_of_it_is_there() -> None:
    """A put that is killed or fails at any request leaves no artifact; the next one makes it whole."""
    with kubo_server() as node:
        node.store().put(DATA)
        puts = len(node.asked)
        for survived in range(puts):
            node.pins.clear()
            node.blocks.clear()
            node.asked.clear()
            node.fault = lambda node, command, answer, handler, most=survived: (
                len(node.asked) > most and faults.failing(node, command, answer, handler)
            )
            with pytest.raises(UnreachableError):
                node.store().put(DATA)
            node.fault = None
            visible = list(node.store().cids())
            assert visible == ([ROOT] if survived == puts - 1 else [])  # of the last request only the answer is lost
            assert [node.store().get(cid) for cid in visible] == [DATA] * len(visible)
        assert node.store().get(node.store().put(DATA)) == DATA


def test_two_writers_of_one_artifact_both_succeed() -> None:
    with kubo_server() as node:
        stores = [node.store(30) for _ in range(4)]
        roots: list[Cid] = []
        threads = [threading.Thread(target=lambda store=store: roots.append(store.put(DATA))) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert roots == [ROOT] * 4
        assert stores[0].get(ROOT) == DATA


def test_a_damaged_block_that_others_share_is_replaced_and_all_stay_pinned() -> None:
    longer = DATA + b"more"
    with kubo_server() as node:
        store = node.store()
        store.put(DATA)
        store.put(longer)
        first = cid_of(DATA[:CHUNK_BYTES])
        node.blocks[first.digest] = b"damaged"
        store.put(DATA)
        assert store.get(ROOT) == DATA
        assert store.get(cid_of(longer)) == longer


def test_memory_does_not_grow_with_an_artifact() -> None:
    def zeros(chunks: int) -> int:
        tracemalloc.start()
        try:
            with kubo_server() as node:
                store = node.store()
                cid = store.put_stream(bytes(CHUNK_BYTES) for _ in range(chunks))
                assert sum(len(chunk) for chunk in store.chunks(cid)) == chunks * CHUNK_BYTES
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert zeros(24) < zeros(4) + 2 * CHUNK_BYTES
