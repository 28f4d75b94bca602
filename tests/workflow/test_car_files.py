from __future__ import annotations

from io import BytesIO
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.car import encode_header, section_head
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid, cid_of
from fedchain.core.errors import FedchainError, FormatError, IntegrityError, MissingArtifactError
from fedchain.workflow.car_files import read_car, write_car
from tests.doubles.store import MemoryStore

ARTIFACTS = [b"", b"one", Random(1).randbytes(CHUNK_BYTES), Random(2).randbytes(2 * CHUNK_BYTES + 1)]


def exported(artifacts: list[bytes]) -> bytes:
    store = MemoryStore()
    roots = [store.put(data) for data in artifacts]
    out = BytesIO()
    write_car(store, roots, out.write)
    return out.getvalue()


def imported(data: bytes) -> MemoryStore:
    store = MemoryStore()
    read_car(BytesIO(data), store)
    return store


def test_artifacts_come_back_from_a_file() -> None:
    store = MemoryStore()
    assert read_car(BytesIO(exported(ARTIFACTS)), store) == tuple(cid_of(data) for data in ARTIFACTS)
    assert store.artifacts == {cid_of(data): data for data in ARTIFACTS}


def test_a_block_that_comes_again_is_written_once() -> None:
    assert len(exported([bytes(3 * CHUNK_BYTES)])) < CHUNK_BYTES + 1000
    assert imported(exported([bytes(3 * CHUNK_BYTES)])).artifacts.popitem()[1] == bytes(3 * CHUNK_BYTES)
    one = exported([b"one"])
    assert len(exported([b"one", b"one"])) - len(one) == len(encode_header([cid_of(b"")] * 2)) - len(
        encode_header([cid_of(b"")])
    )


def test_the_blocks_may_come_in_any_order() -> None:
    data = Random(3).randbytes(2 * CHUNK_BYTES)
    whole = exported([data])
    head = encode_header([cid_of(data)])
    node, leaves = whole[len(head) : -2 * (CHUNK_BYTES + 39)], whole[-2 * (CHUNK_BYTES + 39) :]
    backwards = leaves[CHUNK_BYTES + 39 :] + leaves[: CHUNK_BYTES + 39] + node
    assert imported(head + backwards).artifacts == {cid_of(data): data}


@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_a_flipped_bit_gives_an_error_and_keeps_nothing_under_a_wrong_name(draw: st.DataObject) -> None:
    data = bytearray(exported([b"one", b"two"]))
    position = draw.draw(st.integers(min_value=0, max_value=len(data) - 1))
    data[position] ^= 1 << draw.draw(st.integers(min_value=0, max_value=7))
    store = MemoryStore()
    with pytest.raises(FedchainError):
        read_car(BytesIO(bytes(data)), store)
    assert store.artifacts == {}


def test_a_wrong_block_is_an_integrity_error() -> None:
    cid = cid_of(b"right")
    with pytest.raises(IntegrityError, match=cid.text):
        imported(encode_header([cid]) + section_head(cid, 5) + b"wrong")


@pytest.mark.parametrize("codec", [RAW, DAG_PB])
def test_a_file_without_a_block_of_its_root_is_refused(codec: int) -> None:
    store = MemoryStore()
    present = cid_of(b"present")
    data = encode_header([present, Cid(codec, bytes(32))]) + section_head(present, 7) + b"present"
    with pytest.raises(FormatError, match="lacks a block"):
        read_car(BytesIO(data), store)
    assert store.artifacts == {}


def test_what_the_store_lacks_is_not_exported() -> None:
    with pytest.raises(MissingArtifactError):
        write_car(MemoryStore(), [cid_of(b"lost")], BytesIO().write)
