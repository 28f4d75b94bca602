"""Content identifiers: CIDv1 of the UnixFS profile `unixfs-v1-2025`, computed without a node.

An artifact is cut into chunks of 1 MiB and each chunk is a raw leaf. A single chunk, the empty one too, is itself the
root, so a small artifact is named by the plain sha2-256 of its bytes. More chunks are gathered in order into dag-pb
nodes of up to 1,024 links, these again, until one root is left: all leaves lie equally deep ("balanced").

Sources: IPIP-0499 (the profile), the UnixFS and dag-pb specifications (the nodes), the CID specification (the name).
The vectors in tests/vectors/cid.json come from two implementations of others.
"""

from __future__ import annotations

import functools
from base64 import b32decode, b32encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeAlias

from fedchain.core.errors import FormatError
from fedchain.core.varint import read_uvarint, uvarint

PROFILE: Final = "unixfs-v1-2025"
CHUNK_BYTES: Final = 1 << 20
LINKS_PER_NODE: Final = 1024

RAW: Final = 0x55
DAG_PB: Final = 0x70

BytesLike: TypeAlias = bytes | bytearray | memoryview

_CID_BYTES: Final = 36
_SHA2_256: Final = b"\x12\x20"  # multihash: function 0x12, 32 bytes


@dataclass(frozen=True, slots=True)
class Cid:
    """The name of an artifact: how its root block is encoded (RAW or DAG_PB) and the sha2-256 of that block.

    Raises:
        FormatError: if the codec or the length of the digest is another one.
    """

    codec: int
    digest: bytes

    def __post_init__(self) -> None:
        if self.codec not in {RAW, DAG_PB}:
            raise FormatError("unknown codec of a CID", expected="0x55 (raw) or 0x70 (dag-pb)", got=hex(self.codec))
        if len(self.digest) != 32:
            raise FormatError("wrong digest of a CID", expected="32 bytes of sha2-256", got=len(self.digest))

    @property
    def binary(self) -> bytes:
        """The 36 bytes: version 1, codec, multihash."""
        return bytes((1, self.codec)) + _SHA2_256 + self.digest

    @property
    def text(self) -> str:
        """The 59 characters: `b` for base32 in lower case, then the binary form without padding."""
        return _text(self.binary)

    def __str__(self) -> str:
        return self.text

    @classmethod
    def from_binary(cls, binary: bytes) -> Cid:
        """Read the 36 bytes of `binary`; raises FormatError on any others."""
        if len(binary) != _CID_BYTES or binary[0] != 1 or binary[2:4] != _SHA2_256:
            raise FormatError("not a binary CID", expected="36 bytes: CIDv1 with sha2-256", got="0x" + binary.hex())
        return cls(binary[1], binary[4:])

    @classmethod
    def parse(cls, text: str) -> Cid:
        """Read the canonical text; raises FormatError on any other spelling, base, version or hash."""
        return cls.from_binary(_binary(text))


@functools.lru_cache(maxsize=1 << 10)  # an update's is written, and read again, many times in its round
def _text(binary: bytes) -> str:
    return "b" + b32encode(binary).decode("ascii").rstrip("=").lower()


@functools.lru_cache(maxsize=1 << 10)
def _binary(text: str) -> bytes:
    """Return the binary form of a canonical text."""
    try:
        binary = Cid.from_binary(b32decode(text[1:].upper() + "=" * 6)).binary
    except (ValueError, FormatError) as error:
        raise _not_canonical(text) from error
    if _text(binary) != text:
        raise _not_canonical(text)
    return binary


def _not_canonical(text: str) -> FormatError:
    return FormatError("not a CID of this store", expected="CIDv1 in lower-case base32 (bafk... or bafy...)", got=text)


def cid_of(data: BytesLike) -> Cid:
    """Return the CID of an artifact that is in memory."""
    if memoryview(data).nbytes <= CHUNK_BYTES:
        return Cid(RAW, sha256(data).digest())
    dag = DagBuilder()
    for chunk in cut([data]):
        dag.add(sha256(chunk).digest(), len(chunk))
    return dag.root()


def codec_of(size: int) -> int:
    """Return the codec in the CID of an artifact of so many bytes: one chunk is its own root."""
    return RAW if size <= CHUNK_BYTES else DAG_PB


def cut(parts: Iterable[BytesLike], size: int = CHUNK_BYTES) -> Iterator[memoryview]:
    """Cut a stream into chunks of `size` bytes, the last one shorter; an empty stream is one empty chunk.

    Each chunk is valid until the next one is asked for, so a source may fill the same buffer again and again. A part
    that cannot be written to must not change while the next one comes: what it leaves over is not copied before.
    """
    buffer, filled, is_empty = bytearray(), 0, True
    rest: memoryview | None = None
    for part in parts:
        view = memoryview(part)
        if not view.nbytes:
            continue
        view, start, is_empty = view.cast("B"), 0, False
        if rest is not None:
            buffer[:filled], rest = rest, None
        if filled:
            start = min(size - filled, len(view))
            buffer[filled : filled + start] = view[:start]
            filled += start
            if filled < size:
                continue
            yield memoryview(buffer)
        end = start + (len(view) - start) // size * size
        for position in range(start, end, size):
            yield view[position : position + size]
        filled = len(view) - end
        if view.readonly:
            rest = view[end:]
        else:
            buffer[:filled] = view[end:]
    if filled or is_empty:
        yield memoryview(buffer)[:filled] if rest is None else rest


def kept(chunk: memoryview) -> bytes:
    """Return the bytes of a chunk for good, without a copy where it is all of a bytes object."""
    whole = chunk.obj
    return whole if isinstance(whole, bytes) and len(whole) == chunk.nbytes else bytes(chunk)


@dataclass(frozen=True, slots=True)
class Link:
    """What a node says of one child: its CID, the content bytes under it, and these plus all node bytes (Tsize)."""

    cid: Cid
    content_bytes: int
    total_bytes: int


class DagBuilder:
    """Builds the tree from the leaves, bottom up, with at most 1,024 open links a level in memory.

    Every finished node goes to `emit`: children before their parent, the root last. A single leaf makes no node.
    """

    def __init__(self, emit: Callable[[bytes], object] | None = None) -> None:
        self._emit = emit
        self._levels: list[list[Link]] = [[]]
        self._is_ended = False

    def add(self, digest: bytes, size: int) -> None:
        """Append the leaf of one chunk: its sha2-256 and its length in bytes.

        Raises:
            FormatError: if the profile has no such leaf there: only the last one may be shorter than 1 MiB, and only
                a lone one may be empty.
        """
        is_first = self._levels == [[]]
        if self._is_ended or not (0 if is_first else 1) <= size <= CHUNK_BYTES:
            raise FormatError("no leaf of the profile", expected="full chunks, then at most one shorter", got=size)
        self._is_ended = size < CHUNK_BYTES
        self._append(0, Link(Cid(RAW, digest), size, size))

    def root(self) -> Cid:
        """Close the open nodes and return the root; no leaf can be added after it.

        Raises:
            FormatError: if no leaf was added.
        """
        if self._levels == [[]]:
            raise FormatError("a file without a leaf", expected="at least one chunk", got=0)
        self._is_ended = True
        level = 0
        while level + 1 < len(self._levels) or len(self._levels[level]) > 1:
            if self._levels[level]:
                self._close(level)
            level += 1
        return self._levels[level][0].cid

    def _append(self, level: int, link: Link) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(link)
        if len(self._levels[level]) == LINKS_PER_NODE:
            self._close(level)

    def _close(self, level: int) -> None:
        links, self._levels[level] = self._levels[level], []
        node = encode_node(links)
        if self._emit is not None:
            self._emit(node)
        content_bytes = sum(link.content_bytes for link in links)
        total_bytes = len(node) + sum(link.total_bytes for link in links)
        self._append(level + 1, Link(Cid(DAG_PB, sha256(node).digest()), content_bytes, total_bytes))


def encode_node(links: Sequence[Link]) -> bytes:
    """Return the dag-pb block of a UnixFS file node, with the fields in the order that Kubo writes.

    dag-pb: Links (Hash, empty Name, Tsize), then Data. UnixFS in Data: Type File, filesize, one blocksize a link.
    """
    node = bytearray()
    data = bytearray(b"\x08\x02\x18" + uvarint(sum(link.content_bytes for link in links)))
    for link in links:
        entry = b"\x0a\x24" + link.cid.binary + b"\x12\x00\x18" + uvarint(link.total_bytes)
        node += b"\x12" + uvarint(len(entry)) + entry
        data += b"\x20" + uvarint(link.content_bytes)
    return bytes(node + b"\x0a" + uvarint(len(data)) + data)


def decode_node(node: bytes) -> tuple[Link, ...]:
    """Read the links of a file node; raises FormatError on any byte that `encode_node` would not write."""
    heads: list[tuple[Cid, int]] = []
    position = 0
    while node[position : position + 1] == b"\x12":
        _, start = read_uvarint(node, position + 1)
        total_bytes, position = read_uvarint(node, start + _CID_BYTES + 5)  # after 0a 24, the CID, 12 00 18
        heads.append((Cid.from_binary(node[start + 2 : start + 2 + _CID_BYTES]), total_bytes))
    _, position = read_uvarint(node, position + 1)  # after 0a: the length of Data
    _, position = read_uvarint(node, position + 3)  # after 08 02 18: filesize
    links: list[Link] = []
    for cid, total_bytes in heads:
        content_bytes, position = read_uvarint(node, position + 1)  # after 20
        links.append(Link(cid, content_bytes, total_bytes))
    # The walk above skips tags and lengths; writing the links again checks them all at once.
    if encode_node(links) != node:
        raise FormatError("not a canonical file node", expected="the bytes that Kubo writes", got=f"{len(node)} others")
    return tuple(links)
