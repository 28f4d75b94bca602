from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.cid import Cid, cid_of
from fedchain.core.delta import HEADER_BYTES, MAGIC, MAX_DEPTH, DeltaHeader, decode, encode, is_delta
from fedchain.core.errors import FormatError
from fedchain.core.tensors import encode as encoded

HEADER = DeltaHeader(3, cid_of(b"parent"), b"\x01" * 32, b"\x02" * 32)
SIZES = [0, 1, 5, 262_143, 262_144, 262_145, 600_000]


def words(seed: int, size: int, spread: int = 2**31 - 1) -> bytes:
    return np.random.default_rng(seed).integers(-spread, spread, size, np.int32).tobytes()


def moved(parent: bytes, seed: int, spread: int) -> bytes:
    step = np.frombuffer(words(seed, len(parent) // 4, spread), np.int32)
    return (np.frombuffer(parent, np.int32) + step).astype(np.int32).tobytes()


def made(parent: bytes, child: bytes) -> bytes:
    delta = encode(parent, child)
    assert delta is not None
    return delta


@given(st.data(), st.integers(0, 40))
def test_a_child_comes_back_from_its_parent_and_its_delta(data: st.DataObject, size: int) -> None:
    anything = st.binary(min_size=4 * size, max_size=4 * size)
    parent, child = data.draw(anything), data.draw(anything)
    assert decode(parent, made(parent, child)) == child


@pytest.mark.parametrize("size", SIZES)
def test_models_of_any_length_come_back(size: int) -> None:
    parent, child = words(1, size), words(2, size)
    assert decode(parent, made(parent, child)) == child


def test_the_extremes_come_back() -> None:
    ends = np.array([0, 1, -1, 2**31 - 1, -(2**31)], np.int32)
    parent, child = np.repeat(ends, 5).tobytes(), np.tile(ends, 5).tobytes()
    assert decode(parent, made(parent, child)) == child


def test_small_steps_take_few_bytes() -> None:
    parent = words(1, 500_000, 2**24)
    assert len(made(parent, moved(parent, 2, 2**9))) < 0.4 * len(parent)
    assert len(made(parent, parent)) < 0.001 * len(parent)


def test_only_words_of_equal_number_make_a_delta() -> None:
    assert encode(bytes(8), bytes(12)) is None
    assert encode(bytes(9), bytes(9)) is None


def test_a_header_reads_back_and_a_snapshot_has_none() -> None:
    data = HEADER.to_bytes()
    assert (len(data), DeltaHeader.of(data + b"rest")) == (HEADER_BYTES, HEADER)
    assert DeltaHeader.of(encoded({"weight": np.zeros(3, np.int32)})) is None
    assert not is_delta(b"")


@pytest.mark.parametrize(
    "data",
    [
        HEADER.to_bytes()[:-1],
        MAGIC,
        MAGIC + bytes([0]) + HEADER.to_bytes()[17:],
        MAGIC + bytes([MAX_DEPTH + 1]) + HEADER.to_bytes()[17:],
        MAGIC + bytes([1, 0]) + HEADER.to_bytes()[18:],
    ],
)
def test_what_begins_like_a_delta_and_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        DeltaHeader.of(data)


@pytest.mark.parametrize("level", [1, 19])
def test_a_bomb_is_not_unpacked(level: int) -> None:
    parent = bytes(4096)
    bomb = zstandard.ZstdCompressor(level=level).compress(bytes(1 << 28))
    unsized = zstandard.ZstdCompressor(level=level, write_content_size=False).compress(bytes(1 << 28))
    tracemalloc.start()
    try:
        for each in (bomb, unsized):
            with pytest.raises(FormatError):
                decode(parent, each)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_window_that_needs_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    wide = packer.compress(words(1, 2_000)) + packer.flush()
    with pytest.raises(FormatError, match="zstd frame"):
        decode(bytes(8_000), wide)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_delta_or_refused(delta: bytes) -> None:
    try:
        assert len(decode(bytes(64), delta)) == 64
    except FormatError:
        return


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_a_delta_that_is_cut_off_is_refused(cut: int) -> None:
    parent = words(1, 1000)
    delta = made(parent, words(2, 1000))
    with pytest.raises(FormatError):
        decode(parent, delta[:cut])


def test_a_parent_of_another_length_is_refused() -> None:
    delta = made(bytes(400), words(1, 100))
    for size in (396, 404):
        with pytest.raises(FormatError):
            decode(bytes(size), delta)


def test_the_bytes_of_a_delta_are_those_of_the_table() -> None:
    parent = np.array([10, 10, 10, 2**31 - 1], np.int32).tobytes()
    child = np.array([10, 11, 9, -(2**31)], np.int32).tobytes()
    planes = zstandard.ZstdDecompressor().decompress(made(parent, child))
    assert planes == bytes([0, 2, 1, 2]) + bytes(12)
    assert Cid.from_binary(HEADER.to_bytes()[17:53]) == HEADER.parent
