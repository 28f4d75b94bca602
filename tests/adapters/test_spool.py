"""Content that waits between two readings: whole, encrypted, and gone with the process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from fedchain.adapters.spool import spooled
from fedchain.core.cid import CHUNK_BYTES, cid_of

WORDS = b"words that stand nowhere else"


def bytes_of_open_files(folder: Path) -> bytes:
    links = list(Path("/proc/self/fd").iterdir())
    return b"".join(
        link.read_bytes() for link in links if link.exists() and str(link.readlink()).startswith(str(folder))
    )


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES + 7])
def test_content_comes_back_as_often_as_it_is_asked_for(tmp_path: Path, size: int) -> None:
    data = Random(size).randbytes(size)
    with spooled((data[start : start + 700_001] for start in range(0, size, 700_001)), tmp_path / "new") as spool:
        assert (spool.cid, spool.size) == (cid_of(data), size)
        for _ in range(2):
            assert b"".join(spool.chunks()) == data


def test_nothing_of_it_can_be_read_on_the_disk_and_nothing_is_left(tmp_path: Path) -> None:
    with spooled([WORDS * 100_000], tmp_path) as spool:
        list(spool.chunks())
        on_disk = bytes_of_open_files(tmp_path)
        assert len(on_disk) > CHUNK_BYTES
        assert WORDS not in on_disk
        assert list(tmp_path.iterdir()) == []


def test_a_source_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[bytes]:
        yield bytes(2 * CHUNK_BYTES)
        raise RuntimeError

    with pytest.raises(RuntimeError), spooled(failing(), tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
