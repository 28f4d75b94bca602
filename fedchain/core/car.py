"""CAR files, version 1: blocks in one stream, each beside its CID, so that a node can take artifacts from a file.

    varint(length) header {"roots": [CID...], "version": 1} as DAG-CBOR, then per block: varint(length) CID bytes

Source: the CARv1 specification (ipld.io/specs/transport/car/carv1). Written is the one canonical header; read is that
one only, and blocks of this store's two kinds. docs/format.md has the byte table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from fedchain.core.cid import CHUNK_BYTES, Cid
from fedchain.core.errors import FormatError
from fedchain.core.varint import MOST_BYTES, read_uvarint, uvarint

Read: TypeAlias = Callable[[int], bytes]
"""Returns as many bytes as asked for, fewer at the end only."""

_CID_BYTES: Final = 36
_HEAD: Final = b"\xa2\x65roots"
_TAIL: Final = b"\x67version\x01"
_ROOT: Final = b"\xd8\x2a\x58\x25\x00"  # tag 42, 37 bytes: the identity prefix of a CID in CBOR, then the CID
_MOST_HEADER_BYTES: Final = 1 << 26
_MOST_SECTION_BYTES: Final = _CID_BYTES + CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class Section:
    """One block of a file and where its bytes begin."""

    cid: Cid
    offset: int
    block: bytes


def encode_header(roots: Sequence[Cid]) -> bytes:
    """Return the header with its length."""
    header = _HEAD + _array_head(len(roots)) + b"".join(_ROOT + root.binary for root in roots) + _TAIL
    return uvarint(len(header)) + header


def section_head(cid: Cid, size: int) -> bytes:
    """Return what stands before a block of `size` bytes."""
    return uvarint(_CID_BYTES + size) + cid.binary


def read_header(read: Read) -> tuple[Cid, ...]:
    """Read the roots.

    Raises:
        FormatError: if it is not the canonical header of one root or more, each of this store's kind.
    """
    size, _ = _read_length(read)
    if not 0 < size <= _MOST_HEADER_BYTES:
        raise _no_header(f"a header of {size} bytes")
    header = read(size)
    roots: list[Cid] = []
    position = header.find(_ROOT)
    while position > 0 and header[position : position + len(_ROOT)] == _ROOT:
        start = position + len(_ROOT)
        roots.append(Cid.from_binary(header[start : start + _CID_BYTES]))
        position = start + _CID_BYTES
    if not roots or encode_header(roots) != uvarint(size) + header:
        raise _no_header("another header")
    return tuple(roots)


def read_sections(read: Read, offset: int) -> Iterator[Section]:
    """Read the blocks after a header of `offset` bytes, none of them verified.

    Raises:
        FormatError: if the stream breaks off, or has a block that is not of this store's kinds.
    """
    while True:
        size, taken = _read_length(read)
        if taken == 0:
            return
        if not _CID_BYTES <= size <= _MOST_SECTION_BYTES:
            raise FormatError("not a block of an artifact", expected=f"at most {CHUNK_BYTES} bytes", got=size)
        section = read(size)
        if len(section) < size:
            raise FormatError("a CAR file breaks off", expected=f"a block of {size} bytes", got=len(section))
        yield Section(Cid.from_binary(section[:_CID_BYTES]), offset + taken + _CID_BYTES, section[_CID_BYTES:])
        offset += taken + size


def _read_length(read: Read) -> tuple[int, int]:
    """Return a varint and how many bytes it took: none at the end of the stream."""
    taken = b""
    while len(taken) <= MOST_BYTES:
        byte = read(1)
        taken += byte
        if not byte and not taken:
            return 0, 0
        if not byte or byte[0] < 0x80:
            break
    value, _ = read_uvarint(taken, 0)
    return value, len(taken)


def _array_head(count: int) -> bytes:
    """CBOR, major type 4, in the shortest form."""
    if count < 24:
        return bytes([0x80 | count])
    for extra, size in ((24, 1), (25, 2), (26, 4)):
        if count < 1 << 8 * size:
            return bytes([0x80 | extra]) + count.to_bytes(size, "big")
    raise FormatError("too many roots for a CAR file", expected="less than 2^32", got=count)


def _no_header(got: str) -> FormatError:
    return FormatError("not a CAR file of this store", expected="CARv1 with roots of CIDv1, sha2-256", got=got)
