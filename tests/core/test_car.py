from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.car import Section, encode_header, read_header, read_sections, section_head
from fedchain.core.cid import CHUNK_BYTES, DAG_PB, RAW, Cid
from fedchain.core.errors import FormatError

cids = st.builds(Cid, st.sampled_from([RAW, DAG_PB]), st.binary(min_size=32, max_size=32))
ROOT = Cid(RAW, bytes(range(32)))


def sections(data: bytes) -> Iterator[Section]:
    file = BytesIO(data)
    read_header(file.read)
    return read_sections(file.read, file.tell())


def test_the_header_is_the_one_of_the_specification() -> None:
    """As go-car and @ipld/car write it: 58 bytes of DAG-CBOR for one root."""
    assert encode_header([ROOT]).hex() == (
        "3a" "a2" "65726f6f7473" "81" "d82a5825" "00" + ROOT.binary.hex() + "67" "76657273696f6e" "01"
    )  # fmt: skip


@given(roots=st.lists(cids, min_size=1, max_size=40), blocks=st.lists(st.tuples(cids, st.binary(max_size=300))))
def test_what_is_written_is_read(roots: list[Cid], blocks: list[tuple[Cid, bytes]]) -> None:
    data = encode_header(roots) + b"".join(section_head(cid, len(block)) + block for cid, block in blocks)
    assert read_header(BytesIO(data).read) == tuple(roots)
    read = list(sections(data))
    assert [(each.cid, each.block) for each in read] == blocks
    assert all(data[each.offset : each.offset + len(each.block)] == each.block for each in read)


@pytest.mark.parametrize("count", [23, 24, 255, 256, 65_536])
def test_any_number_of_roots_fits(count: int) -> None:
    roots = [ROOT] * count
    assert read_header(BytesIO(encode_header(roots)).read) == tuple(roots)


@given(data=st.data())
def test_no_byte_of_a_header_is_free(data: st.DataObject) -> None:
    header = bytearray(encode_header([ROOT, ROOT]))
    position = data.draw(st.integers(min_value=0, max_value=len(header) - 1))
    header[position] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        roots = read_header(BytesIO(bytes(header)).read)
    except FormatError:
        return
    assert roots != (ROOT, ROOT)


@given(data=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for each in (data, encode_header([ROOT]) + data):
        with suppress(FormatError):
            list(sections(each))


def test_a_stream_that_breaks_off_is_refused_wherever_it_does() -> None:
    start = encode_header([ROOT])
    whole = start + section_head(ROOT, 300) + Random(1).randbytes(300)
    for end in range(len(start) + 1, len(whole)):
        with pytest.raises(FormatError):
            list(sections(whole[:end]))
    for end in range(len(start)):
        with pytest.raises(FormatError):
            read_header(BytesIO(whole[:end]).read)


def test_a_block_longer_than_a_chunk_is_refused_unread() -> None:
    with pytest.raises(FormatError, match="not a block of an artifact"):
        list(sections(encode_header([ROOT]) + section_head(ROOT, CHUNK_BYTES + 1)))
