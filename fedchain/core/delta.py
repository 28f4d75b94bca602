"""A model as its difference to an earlier one: lossless, about half as many bytes where no noise fills the low bits.

Both are canonical tensors of the same shapes, so their bytes are int32 words in the same places. A word's difference
modulo 2^32 is small and of either sign; zigzag puts the sign into the lowest bit, so that the high bytes are zero.
Bytes of equal weight are put together (Blosc's shuffle) and compressed with zstd (RFC 8878). Differences beat xor,
which turns a step over a power of two into many set bits (docs/adr/0027 has the figures). docs/format.md has the bytes.

Nothing here is trusted to be short: a delta gives exactly as many bytes as its parent has, and no more are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
import numpy.typing as npt
import zstandard

from fedchain.core.cid import Cid
from fedchain.core.digest import DIGEST_SIZE, Digest
from fedchain.core.errors import FormatError

MAGIC: Final = b"fedchain/delta/1"
HEADER_BYTES: Final = len(MAGIC) + 1 + 36 + 2 * DIGEST_SIZE
MAX_DEPTH: Final = 64
"""Deltas between a model and its snapshot: what a reader is asked to unpack for one model."""
_SEGMENT: Final = 1 << 20
"""Bytes that are transformed at a time; the last segment is shorter."""
_LEVEL: Final = 3
_MOST_WINDOW: Final = 1 << 23
_WORD: Final = np.dtype("<u4")


@dataclass(frozen=True, slots=True)
class DeltaHeader:
    """What a delta says of itself: the digests of its model and its parent's, and under which CID the parent is kept.

    `depth` is how many deltas there are down to a snapshot, itself included.
    """

    depth: int
    parent: Cid
    parent_digest: Digest
    digest: Digest

    def to_bytes(self) -> bytes:
        """Return the bytes before the delta itself."""
        return MAGIC + bytes([self.depth]) + self.parent.binary + self.parent_digest + self.digest

    @classmethod
    def of(cls, data: bytes) -> DeltaHeader | None:
        """Read the header of a stored model; None where it is a snapshot.

        Raises:
            FormatError: if it begins like a delta and is none.
        """
        if not is_delta(data):
            return None
        start = len(MAGIC)
        if len(data) < HEADER_BYTES or not 1 <= data[start] <= MAX_DEPTH:
            raise FormatError(
                "delta of a model", expected=f"a header with a depth of 1 to {MAX_DEPTH}", got=data[:HEADER_BYTES].hex()
            )
        digests = data[start + 37 : HEADER_BYTES]
        parent = Cid.from_binary(data[start + 1 : start + 37])
        return cls(data[start], parent, digests[:DIGEST_SIZE], digests[DIGEST_SIZE:])


def is_delta(data: bytes) -> bool:
    """Tell a delta from canonical tensors, which begin with the length of a header of at most 1 MiB."""
    return data.startswith(MAGIC)


def encode(parent: bytes, child: bytes) -> bytes | None:
    """Return what turns `parent` into `child`; None where they are not of equal length, or no words."""
    if len(parent) != len(child) or len(child) % _WORD.itemsize:
        return None
    packer = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compressobj(size=len(child))
    parts = [packer.compress(_shuffled(old, new)) for old, new in zip(_words(parent), _words(child), strict=True)]
    return b"".join([*parts, packer.flush()])


def decode(parent: bytes, delta: bytes) -> bytes:
    """Return the child that `encode` made `delta` of.

    Raises:
        FormatError: if it gives more or fewer bytes than the parent has, or is no zstd frame.
    """
    child = bytearray()
    unpacker = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW)
    try:
        with unpacker.stream_reader(BytesIO(delta)) as source:
            for old in _words(parent):
                child += _unshuffled(old, _exactly(source, old.nbytes))
            rest = source.read(1)
    except zstandard.ZstdError as error:
        raise FormatError("delta of a model", expected="a zstd frame", got=error) from error
    if rest or len(child) != len(parent):
        raise FormatError("delta of a model", expected=f"{len(parent)} bytes, as its parent has", got="others")
    return bytes(child)


def _words(data: bytes) -> Iterator[npt.NDArray[np.uint32]]:
    usable = len(data) // _WORD.itemsize * _WORD.itemsize
    for start in range(0, usable, _SEGMENT):
        yield np.frombuffer(data, _WORD, min(_SEGMENT, usable - start) // _WORD.itemsize, start)


def _shuffled(old: npt.NDArray[np.uint32], new: npt.NDArray[np.uint32]) -> bytes:
    difference = new - old  # modulo 2^32
    sign = (difference >> 31) * np.uint32(0xFFFFFFFF)
    zigzag = (difference << 1) ^ sign
    return zigzag.astype(_WORD).view(np.uint8).reshape(-1, _WORD.itemsize).T.tobytes()


def _unshuffled(old: npt.NDArray[np.uint32], planes: bytes) -> bytes:
    columns = np.frombuffer(planes, np.uint8).reshape(_WORD.itemsize, -1)
    zigzag = np.ascontiguousarray(columns.T).view(_WORD).reshape(-1)
    difference = (zigzag >> 1) ^ ((zigzag & 1) * np.uint32(0xFFFFFFFF))
    return (old + difference).astype(_WORD).tobytes()


def _exactly(source: zstandard.ZstdDecompressionReader, size: int) -> bytes:
    data = source.read(size)
    while len(data) < size:
        more = source.read(size - len(data))
        if not more:
            raise FormatError("delta of a model", expected="as many bytes as its parent has", got="fewer")
        data += more
    return data
