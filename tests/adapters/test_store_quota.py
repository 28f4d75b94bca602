from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.store_files import usage
from fedchain.adapters.store_quota import read_quota, write_quota
from fedchain.core.cid import CHUNK_BYTES
from fedchain.core.errors import FormatError, InputError
from tests.adapters.store_files import LARGE

LIMIT = 4 * CHUNK_BYTES


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_quota(tmp_path / "store", LIMIT)
    return tmp_path / "store"


def test_a_quota_is_kept_in_the_store_and_can_be_taken_away(root: Path) -> None:
    assert read_quota(root) == LIMIT
    write_quota(root, None)
    write_quota(root, None)
    assert read_quota(root) is None
    EmbeddedStore(root).put(bytes(LIMIT + 1))


def test_a_put_that_would_pass_the_quota_ends_in_one_line_and_leaves_nothing(root: Path) -> None:
    store = EmbeddedStore(root)
    kept = store.put(LARGE)
    before = usage(root)
    with pytest.raises(InputError, match="quota is used up: expected at most 4194304 bytes") as caught:
        store.put(bytes(3 * CHUNK_BYTES))
    assert "\n" not in str(caught.value)
    assert "fedchain store gc" in str(caught.value)
    assert (list(store.cids()), usage(root)) == ([kept], before)
    store.put(b"what is small still fits")


def test_a_stream_is_stopped_before_the_part_that_would_pass_the_quota(root: Path) -> None:
    taken: list[int] = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield bytes(CHUNK_BYTES)

    with pytest.raises(InputError, match="quota"):
        EmbeddedStore(root).put_stream(endless())
    assert len(taken) <= 5
    assert list((root / "tmp").iterdir()) == []


def test_many_small_puts_never_pass_the_quota(root: Path) -> None:
    write_quota(root, 10_000)
    stores = EmbeddedStore(root), EmbeddedStore(root)
    refused = 0
    for number in range(200):
        try:
            stores[number % 2].put(number.to_bytes(2) * 100)
        except InputError:
            refused += 1
    assert refused > 100
    assert 9_500 < usage(root) <= 10_000


def test_what_is_there_already_can_be_put_again_in_a_full_store(root: Path) -> None:
    store = EmbeddedStore(root)
    cid = store.put(LARGE)
    write_quota(root, 1)
    assert EmbeddedStore(root).put(LARGE) == cid
    with pytest.raises(InputError, match="quota"):
        EmbeddedStore(root).put(LARGE + b"more")


def test_removing_makes_room(root: Path) -> None:
    store = EmbeddedStore(root)
    cid = store.put(bytes(3 * CHUNK_BYTES))
    with pytest.raises(InputError, match="quota"):
        store.put(LARGE)
    store.remove(cid)
    assert store.get(store.put(LARGE)) == LARGE


def test_a_quota_that_is_no_number_is_refused(root: Path) -> None:
    (root / "quota").write_text("plenty")
    with pytest.raises(FormatError, match="number of bytes"):
        EmbeddedStore(root).put(b"data")
