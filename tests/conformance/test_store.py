"""What every artifact store does, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.kubo.store import KuboStore
from fedchain.adapters.replicated_store import ReplicatedStore
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, cid_of
from fedchain.core.errors import IntegrityError, MissingArtifactError
from fedchain.ports.store import ArtifactStore, Replica
from tests.doubles.daemon import Daemon
from tests.doubles.kubo_server import kubo_server
from tests.doubles.store import MemoryStore

SIZES = [0, 1, 1000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7]


@dataclass(frozen=True)
class Kept:
    """A store, and how to put other bytes in the place of an artifact or take it away behind the store's back."""

    store: ArtifactStore
    forge: Callable[[Cid, bytes], object]
    lose: Callable[[Cid], object]


@pytest.fixture(
    params=["memory", "embedded", "server double", "replicated", pytest.param("daemon", marks=pytest.mark.slow)]
)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    match request.param:
        case "memory":
            memory = MemoryStore()
            yield Kept(memory, memory.artifacts.__setitem__, memory.artifacts.pop)
        case "daemon":
            node: Daemon = request.getfixturevalue("ipfs")
            node.forget_all()
            yield Kept(KuboStore(node.node()), node.forge, node.forget)
        case "server double":
            with kubo_server() as server:
                yield Kept(server.store(), server.forge, lambda cid: server.pins.discard(cid.text))
        case "replicated":
            stores = [MemoryStore() for _ in range(3)]
            replicas = [Replica(str(number), each, is_written=True) for number, each in enumerate(stores)]
            yield Kept(
                ReplicatedStore(replicas, 2, 60),
                lambda cid, data: [each.artifacts.update({cid: data}) for each in stores],
                lambda cid: [each.artifacts.pop(cid) for each in stores],
            )
        case _:
            root = tmp_path / "store"

            def path(cid: Cid) -> Path:
                return next(root.glob(f"*/{cid}"))

            yield Kept(
                EmbeddedStore(root),
                lambda cid, data: path(cid).write_bytes(data),
                lambda cid: path(cid).unlink(),
            )


@pytest.mark.parametrize("size", SIZES)
def test_an_artifact_comes_back_under_the_name_of_its_bytes(kept: Kept, size: int) -> None:
    data = Random(size).randbytes(size)
    cid = kept.store.put(data)
    assert cid == cid_of(data)
    assert kept.store.get(cid) == data
    assert b"".join(kept.store.chunks(cid)) == data
    assert kept.store.has(cid)


@pytest.mark.parametrize("size", SIZES)
def test_a_stream_gives_the_same_artifact_as_its_bytes(kept: Kept, size: int) -> None:
    data = Random(size).randbytes(size)
    cid = kept.store.put_stream(data[start : start + 700_001] for start in range(0, size, 700_001))
    assert cid == cid_of(data)
    assert kept.store.get(cid) == data


def test_artifacts_come_in_chunks_of_a_mebibyte(kept: Kept) -> None:
    cid = kept.store.put(bytes(2 * CHUNK_BYTES + 5))
    assert [len(chunk) for chunk in kept.store.chunks(cid)] == [CHUNK_BYTES, CHUNK_BYTES, 5]
    assert list(kept.store.chunks(kept.store.put(b""))) == [b""]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(artifacts=st.lists(st.binary(max_size=300), max_size=5), order=st.randoms())
def test_any_bytes_come_back_in_whatever_order_they_were_put(kept: Kept, artifacts: list[bytes], order: Random) -> None:
    shuffled = order.sample(artifacts, len(artifacts))
    for data in shuffled:
        kept.store.put(data)
    assert [kept.store.get(cid_of(data)) for data in artifacts] == artifacts
    assert {cid_of(data) for data in artifacts} <= set(kept.store.cids())


@pytest.mark.parametrize("wrap", [bytearray, memoryview, lambda data: memoryview(bytearray(data * 2))[: len(data)]])
def test_bytes_of_any_kind_are_taken(kept: Kept, wrap: Callable[[bytes], bytearray | memoryview]) -> None:
    assert kept.store.get(kept.store.put(wrap(b"weights"))) == b"weights"


def test_an_artifact_does_not_change_with_the_buffer_that_it_was_put_from(kept: Kept) -> None:
    buffer = bytearray(b"before")
    cid = kept.store.put(buffer)
    buffer[:] = b"after!"
    assert kept.store.get(cid) == b"before"


def test_a_store_lists_each_artifact_once(kept: Kept) -> None:
    assert list(kept.store.cids()) == []
    data = [b"", b"one", bytes(CHUNK_BYTES + 1)]
    cids = [kept.store.put(each) for each in data + data]
    listed = list(kept.store.cids())
    assert len(listed) == len(data)
    assert set(listed) == set(cids)


@pytest.mark.parametrize("codec", [RAW, DAG_PB])
def test_an_artifact_that_was_never_put_is_missing(kept: Kept, codec: int) -> None:
    cid = Cid(codec, bytes(32))
    kept.store.put(b"something else")
    assert not kept.store.has(cid)
    with pytest.raises(MissingArtifactError, match=cid.text):
        kept.store.get(cid)
    with pytest.raises(MissingArtifactError, match=cid.text):
        list(kept.store.chunks(cid))


@pytest.mark.parametrize("size", SIZES)
def test_a_lost_artifact_is_missing_and_not_damaged(kept: Kept, size: int) -> None:
    cid = kept.store.put(bytes(size))
    kept.lose(cid)
    assert not kept.store.has(cid)
    assert list(kept.store.cids()) == []
    with pytest.raises(MissingArtifactError, match=cid.text):
        kept.store.get(cid)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "forged",
    [
        lambda data: data + b"\0",
        lambda data: data + bytes(2 * CHUNK_BYTES),
        lambda data: data[:-1] or b"\1",
        lambda data: data[: len(data) // 2] + b"\1" + data[len(data) // 2 + 1 :],
        lambda data: b"" if data else b"\1",
    ],
    ids=["longer", "much longer", "shorter", "altered", "emptied"],
)
def test_other_bytes_under_a_name_are_an_integrity_error_that_names_it(
    kept: Kept, size: int, forged: Callable[[bytes], bytes]
) -> None:
    data = bytes(size)
    cid = kept.store.put(data)
    kept.forge(cid, forged(data))
    with pytest.raises(IntegrityError, match=cid.text) as caught:
        kept.store.get(cid)
    assert caught.value.expected == cid.text
    assert caught.value.got not in {None, cid.text}
    with pytest.raises(IntegrityError, match=cid.text):
        list(kept.store.chunks(cid))


def test_no_chunk_is_handed_out_unverified(kept: Kept) -> None:
    data = Random(5).randbytes(3 * CHUNK_BYTES)
    cid = kept.store.put(data)
    kept.forge(cid, data[:CHUNK_BYTES] + b"\0" + data[CHUNK_BYTES + 1 :])
    seen: list[bytes] = []
    with pytest.raises(IntegrityError):
        seen.extend(kept.store.chunks(cid))
    assert b"".join(seen) in {b"", data[:CHUNK_BYTES]}


def test_putting_an_artifact_again_heals_it(kept: Kept) -> None:
    data = bytes(2 * CHUNK_BYTES)
    cid = kept.store.put(data)
    kept.forge(cid, b"noise")
    assert kept.store.put(data) == cid
    assert kept.store.get(cid) == data


def test_a_stream_that_breaks_off_leaves_nothing(kept: Kept) -> None:
    class SourceLostError(Exception):
        pass

    def breaking() -> Iterator[bytes]:
        yield bytes(2 * CHUNK_BYTES)
        raise SourceLostError

    with pytest.raises(SourceLostError):
        kept.store.put_stream(breaking())
    assert list(kept.store.cids()) == []


@pytest.mark.parametrize("size", SIZES)
def test_a_removed_artifact_is_missing_until_it_is_put_again(kept: Kept, size: int) -> None:
    data = bytes(size)
    cid = kept.store.put(data)
    kept.store.remove(cid)
    assert not kept.store.has(cid)
    assert list(kept.store.cids()) == []
    with pytest.raises(MissingArtifactError, match=cid.text):
        kept.store.get(cid)
    kept.store.remove(cid)
    assert kept.store.get(kept.store.put(data)) == data


@pytest.mark.parametrize("codec", [RAW, DAG_PB])
def test_removing_what_is_missing_or_damaged_is_no_error(kept: Kept, codec: int) -> None:
    kept.store.remove(Cid(codec, bytes(32)))
    cid = kept.store.put(b"soon damaged")
    kept.forge(cid, b"damaged")
    kept.store.remove(cid)
    kept.store.remove(Cid(codec, bytes(32)))
    assert list(kept.store.cids()) == []


def test_what_is_left_keeps_the_chunks_that_it_shares_with_what_is_removed(kept: Kept) -> None:
    longer = Random(3).randbytes(2 * CHUNK_BYTES)
    chunk = longer[:CHUNK_BYTES]
    cids = [kept.store.put(data) for data in (longer, chunk, longer + b"more")]
    kept.store.remove(cids[0])
    assert set(kept.store.cids()) == set(cids[1:])
    assert kept.store.get(cids[1]) == chunk
    assert kept.store.get(cids[2]) == longer + b"more"
