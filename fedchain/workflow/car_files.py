"""Artifacts to and from CAR files, over any store.

Written in the order of a depth-first walk, each block once, as nodes of IPFS do it. Read in any order: a first pass
hashes every block and notes where it lies, the next ones take the artifacts from there, so that memory holds the nodes
and one chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.car import encode_header, read_header, read_sections, section_head
from fedchain.core.cid import RAW, Cid, Link
from fedchain.core.dag import checked, depth_first, leaves_of, nodes_of
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.ports.store import ArtifactStore


class SeekableFile(Protocol):
    """A file open for reading."""

    def read(self, size: int, /) -> bytes:
        """Return as many bytes, fewer at the end only."""
        ...

    def seek(self, offset: int, /) -> int:
        """Go to an offset from the beginning."""
        ...

    def tell(self) -> int:
        """Return the offset."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    offset: int
    size: int


def write_car(store: ArtifactStore, roots: Sequence[Cid], write: Callable[[bytes], object]) -> None:
    """Write artifacts with `write`, each verified as it is read, twice where it has a tree.

    Raises:
        MissingArtifactError, IntegrityError: as reading the store does; what was written is then incomplete.
    """
    write(encode_header(roots))
    written: set[Cid] = set()
    for root in roots:
        if root in written:
            continue
        nodes = {} if root.codec == RAW else nodes_of(store.chunks(root))
        chunks = store.chunks(root)
        for cid in depth_first(root, nodes.__getitem__):
            block = next(chunks) if cid.codec == RAW else nodes[cid]
            if cid not in written:
                written.add(cid)
                write(section_head(cid, len(block)) + block)


def read_car(file: SeekableFile, store: ArtifactStore) -> tuple[Cid, ...]:
    """Put the roots of a CAR file into a store and return them; every block is verified before the first put.

    Raises:
        FormatError: if it is no CAR file, lacks a block of a root, or a root is no artifact of the profile.
        IntegrityError: if a block does not have the hash that stands beside it.
    """
    roots = read_header(file.read)
    places: dict[Cid, _Place] = {}
    for section in read_sections(file.read, file.tell()):
        checked(section.cid, section.block)
        places.setdefault(section.cid, _Place(section.offset, len(section.block)))

    def read_block(cid: Cid) -> bytes:
        return _block(file, places, cid)

    leaves = {root: _leaves(root, read_block, places) for root in dict.fromkeys(roots)}
    for root, cids in leaves.items():
        put = store.put_stream(read_block(cid) for cid in cids)
        if put != root:
            raise IntegrityError("a CAR file changed while it was read", expected=root, got=put)
    return tuple(leaves)


def _leaves(root: Cid, read_block: Callable[[Cid], bytes], places: Mapping[Cid, _Place]) -> list[Cid]:
    if root.codec == RAW:
        _place(places, root)
        return [root]
    return list(_sized(leaves_of(root, read_block), places))


def _sized(leaves: Iterator[Link], places: Mapping[Cid, _Place]) -> Iterator[Cid]:
    for leaf in leaves:
        size = _place(places, leaf.cid).size
        if size != leaf.content_bytes:
            raise FormatError("a leaf of another size than its node says", expected=leaf.content_bytes, got=size)
        yield leaf.cid


def _block(file: SeekableFile, places: Mapping[Cid, _Place], cid: Cid) -> bytes:
    place = _place(places, cid)
    file.seek(place.offset)
    return file.read(place.size)


def _place(places: Mapping[Cid, _Place], cid: Cid) -> _Place:
    if cid not in places:
        raise FormatError("a CAR file lacks a block of its roots", expected=cid, got="no such block")
    return places[cid]
