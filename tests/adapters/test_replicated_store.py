"""Several stores as one: over real HTTP where the fault is one of a node, in memory where it is not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.replicated_store import ReplicatedStore
from fedchain.core.cid import CHUNK_BYTES, BytesLike, Cid, cid_of
from fedchain.core.errors import InputError, IntegrityError, MissingArtifactError, UnreachableError
from fedchain.ports.store import AuditedStore, Replica
from tests.doubles import kubo_server as faults
from tests.doubles.kubo_server import Fault, KuboServer, kubo_server
from tests.doubles.store import MemoryStore

DATA = Random(1).randbytes(2 * CHUNK_BYTES + 7)
ROOT = cid_of(DATA)
TIMEOUT_S = 0.5
EVERY_FAULT = [
    faults.wrong_bytes, faults.truncated, faults.hanging, faults.failing, faults.dripping, faults.dripping_headers,
    faults.flooding, faults.refusing,
]  # fmt: skip


@dataclass(frozen=True)
class Federation:
    """Three nodes, the home's folder, and the one store that they are, with a quorum of two."""

    nodes: Sequence[KuboServer]
    local: EmbeddedStore
    store: ReplicatedStore


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Federation]:
    with ExitStack() as stack:
        nodes = [stack.enter_context(kubo_server()) for _ in range(3)]
        replicas = [Replica(str(number), node.store(TIMEOUT_S), is_written=True) for number, node in enumerate(nodes)]
        local = EmbeddedStore(tmp_path / "store")
        yield Federation(nodes, local, ReplicatedStore(replicas, 2, 2 * TIMEOUT_S))


def in_memory(count: int, quorum: int, readers: int = 0) -> tuple[list[MemoryStore], ReplicatedStore]:
    stores = [MemoryStore() for _ in range(count + readers)]
    replicas = [Replica(str(number), each, number < count) for number, each in enumerate(stores)]
    return stores, ReplicatedStore(replicas, quorum, 60)


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_the_next_replica_is_read_where_one_has_a_fault(three: Federation, fault: Fault) -> None:
    three.store.put(DATA)
    three.nodes[0].fault = fault
    before = time.monotonic()
    assert three.store.get(ROOT) == DATA
    assert three.store.has(ROOT)
    assert time.monotonic() - before < 10


def test_the_next_replica_is_read_where_one_is_down_or_lost_it(tmp_path: Path) -> None:
    with kubo_server() as sound, kubo_server() as lost, kubo_server() as gone:
        nodes = [gone, lost, sound]
        replicas = [Replica(str(number), node.store(TIMEOUT_S), is_written=True) for number, node in enumerate(nodes)]
        store = ReplicatedStore(replicas, 2, TIMEOUT_S)
        store.put(DATA)
        lost.pins.clear()
        gone.fault = faults.hanging
        assert store.get(ROOT) == DATA


def test_a_replica_that_fails_in_the_middle_is_replaced_from_there_on(three: Federation) -> None:
    three.store.put(DATA)
    chunks = three.store.chunks(ROOT)
    assert next(chunks) == DATA[:CHUNK_BYTES]
    three.nodes[0].fault = faults.failing
    asked = len(three.nodes[1].asked)
    assert b"".join(chunks) == DATA[CHUNK_BYTES:]
    assert len(three.nodes[1].asked) > asked


def test_a_node_that_gave_no_answer_is_not_asked_first_again_for_a_while(three: Federation) -> None:
    three.store.put(DATA)
    three.nodes[0].fault = faults.hanging
    assert three.store.get(ROOT) == DATA
    asked = len(three.nodes[0].asked)
    for _ in range(5):
        assert three.store.get(ROOT) == DATA
    assert len(three.nodes[0].asked) == asked


def test_a_slow_replica_counts_as_one_that_fails() -> None:
    released = threading.Event()

    class Slow(MemoryStore):
        def chunks(self, cid: Cid) -> Iterator[bytes]:
            released.wait(0.2)
            yield from super().chunks(cid)

    slow, quick = Slow(), MemoryStore()
    stores: list[AuditedStore] = [slow, quick]
    store = ReplicatedStore([Replica(str(n), each, is_written=True) for n, each in enumerate(stores)], 2, -0.9)
    slow.put(DATA)
    quick.put(DATA)
    assert store.get(ROOT) == DATA
    released.set()


# ---------------------------------------------------------------- knowing that something is nowhere


def test_what_no_replica_has_is_missing() -> None:
    _, store = in_memory(3, 2)
    with pytest.raises(MissingArtifactError, match=ROOT.text):
        store.get(ROOT)
    assert not store.has(ROOT)


def test_with_fewer_silent_replicas_than_the_quorum_missing_is_certain(three: Federation) -> None:
    three.nodes[0].fault = faults.failing
    with pytest.raises(MissingArtifactError):
        three.store.get(ROOT)
    assert not three.store.has(ROOT)
    assert list(three.store.cids()) == []


def test_with_as_many_silent_replicas_as_the_quorum_nobody_knows(three: Federation) -> None:
    for node in three.nodes[:2]:
        node.fault = faults.failing
    for ask in (lambda: three.store.get(ROOT), lambda: three.store.has(ROOT), lambda: list(three.store.cids())):
        with pytest.raises(UnreachableError, match="too few replicas"):
            ask()


def test_a_damaged_artifact_that_nobody_has_sound_is_an_integrity_error() -> None:
    stores, store = in_memory(2, 1)
    store.put(DATA)
    stores[0].artifacts[ROOT] = b"other"
    stores[1].artifacts.clear()
    with pytest.raises(IntegrityError, match=ROOT.text):
        store.get(ROOT)


def test_a_replica_that_is_only_read_is_asked_and_never_written() -> None:
    stores, store = in_memory(1, 1, readers=1)
    old = stores[1].put(b"from an earlier run")
    store.put(DATA)
    assert store.get(old) == b"from an earlier run"
    assert set(store.cids()) == {old, ROOT}
    assert set(stores[1].artifacts) == {old}


# ---------------------------------------------------------------- writing


@pytest.mark.parametrize("fault", [*EVERY_FAULT, faults.full, faults.misnaming])
def test_a_quorum_confirms_while_one_replica_has_a_fault(three: Federation, fault: Fault) -> None:
    three.nodes[1].fault = fault
    before = time.monotonic()
    assert three.store.put(DATA) == ROOT
    assert time.monotonic() - before < 15
    assert [ROOT.text in node.pins for node in three.nodes] == [True, False, True]
    assert three.store.get(ROOT) == DATA


@pytest.mark.parametrize("fault", [faults.hanging, faults.failing, faults.wrong_bytes])
def test_without_a_quorum_a_put_is_refused_in_time(three: Federation, fault: Fault) -> None:
    for node in three.nodes[:2]:
        node.fault = fault
    before = time.monotonic()
    with pytest.raises((UnreachableError, InputError), match="too few replicas of the store confirm: expected 2 of 3"):
        three.store.put(DATA)
    assert time.monotonic() - before < 15


def test_full_nodes_without_a_quorum_are_told_as_a_full_disk(three: Federation) -> None:
    for node in three.nodes:
        node.fault = faults.full
    with pytest.raises(InputError, match="no room on"):
        three.store.put(DATA)


def test_a_source_that_breaks_off_is_visible_nowhere(three: Federation) -> None:
    class SourceLostError(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield DATA
        raise SourceLostError

    with pytest.raises(SourceLostError):
        three.store.put_stream(breaking())
    assert list(three.store.cids()) == []


@pytest.mark.slow
def test_a_replica_that_stops_taking_is_given_up_and_the_others_get_all() -> None:
    released = threading.Event()

    class Stopping(MemoryStore):
        def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
            released.wait(60)
            return super().put_stream(parts)

    stores: list[AuditedStore] = [Stopping(), MemoryStore()]
    store = ReplicatedStore([Replica(str(n), each, is_written=True) for n, each in enumerate(stores)], 1, 0.1)
    long = Random(2).randbytes(8 * CHUNK_BYTES)
    before = time.monotonic()
    assert store.put(long) == cid_of(long)
    released.set()
    assert time.monotonic() - before < 40
    assert stores[1].get(cid_of(long)) == long


def test_removing_tries_every_replica_and_tells_of_one_that_did_not(three: Federation) -> None:
    three.store.put(DATA)
    three.nodes[0].fault = faults.failing
    with pytest.raises(UnreachableError, match="not removed everywhere"):
        three.store.remove(ROOT)
    assert [ROOT.text in node.pins for node in three.nodes] == [True, False, False]
    three.nodes[0].fault = None
    three.store.remove(ROOT)
    assert all(not node.pins and not node.blocks for node in three.nodes)


def test_the_home_and_a_node_are_replicas_of_each_other(three: Federation) -> None:
    node = three.nodes[0]
    replicas = [Replica("home", three.local, is_written=True), Replica("node", node.store(), is_written=True)]
    store = ReplicatedStore(replicas, 2, 5)
    assert store.put(DATA) == ROOT
    assert three.local.get(ROOT) == DATA
    node.fault = faults.hanging
    assert store.get(ROOT) == DATA
