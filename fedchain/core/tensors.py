"""Canonical tensors: safetensors without metadata, names in byte order, little-endian int32, no gaps.

The bytes equal those of the safetensors library for the same tensors, and exactly one byte string stands for one set
of tensors: the header of whatever decodes is written again and compared. Format:
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import FormatError
from fedchain.core.json_text import Json, Pairs, parse

IntTensors: TypeAlias = dict[str, npt.NDArray[np.int32]]
FloatTensors: TypeAlias = dict[str, npt.NDArray[np.float64]]

MAX_HEADER: Final = 1 << 20
MAX_DIMENSIONS: Final = 32
"""More would only cost time: the product of a hostile shape has a million bits."""
_METADATA: Final = "__metadata__"
_INT32: Final = np.dtype("<i4")
_WIDTHS: Final = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8, "C64": 8, "C128": 16,
}  # fmt: skip


class DuplicateNameError(FormatError):
    """A header names one tensor twice."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor as a header describes it: dtype in safetensors' words, shape, and its half-open byte range."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class TensorSchema:
    """Names and shapes that a model's tensors must have, sorted by name."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, tensors: Mapping[str, npt.NDArray[Any]]) -> TensorSchema:
        """Return the schema of the given tensors."""
        names = tuple(sorted(tensors, key=str.encode))
        return cls(names, tuple(tensors[name].shape for name in names))

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes)


def encode(tensors: Mapping[str, npt.NDArray[np.int32]]) -> bytes:
    """Return the canonical bytes of int32 tensors."""
    schema = TensorSchema.of(tensors)
    for name in schema.names:
        if tensors[name].dtype != _INT32 or name == _METADATA:
            raise ValueError(f"tensor {name!r}: expected int32, got {tensors[name].dtype}")
    return b"".join([_header(schema), *(np.ascontiguousarray(tensors[name], _INT32).data for name in schema.names)])


@functools.lru_cache(maxsize=4)
def _header(schema: TensorSchema) -> bytes:
    """Return the one header of a schema: sorted names, data in the same order without gaps, no space but padding."""
    offset = 0
    header: dict[str, object] = {}
    for name, shape in zip(schema.names, schema.shapes, strict=True):
        end = offset + _INT32.itemsize * math.prod(shape)
        header[name] = {"dtype": "I32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def read_header(data: bytes, *, is_foreign: bool = False) -> tuple[Entry, ...]:
    """Return the entries of a safetensors header, checked for size, form, gaps and overlaps.

    A foreign file may have metadata, which are passed over; an artifact has none.

    Raises:
        DuplicateNameError: if a name stands twice.
        FormatError: if the header or the length of the data is not what it says.
    """
    size = int.from_bytes(data[:8], "little")
    if len(data) < 8 or size > MAX_HEADER or 8 + size > len(data):
        raise FormatError("tensor header", expected=f"at most {MAX_HEADER} bytes within the data", got=size)
    return _entries(data[8 : 8 + size], len(data) - 8 - size, is_foreign=is_foreign)


@functools.lru_cache(maxsize=4)  # the updates of a run all have the same one, and it is asked for twice
def _entries(header: bytes, data_bytes: int, *, is_foreign: bool) -> tuple[Entry, ...]:
    try:
        raw = parse(header, _unique)
    except ValueError as error:
        raise FormatError("tensor header is not JSON", got=str(error)) from error
    if not isinstance(raw, dict):
        raise FormatError("tensor header", expected="an object", got=type(raw).__name__)
    named = cast("dict[str, Json]", raw)
    entries = tuple(_entry(name, item) for name, item in named.items() if not (is_foreign and name == _METADATA))
    end = 0
    for entry in sorted(entries, key=lambda each: each.begin):
        if entry.begin != end:
            raise FormatError(f"tensor {entry.name[:80]!r}", expected=f"data at {end}", got=entry.begin)
        end = entry.end
    if end != data_bytes:
        raise FormatError("tensor data", expected=f"{end} bytes", got=data_bytes)
    return entries


def _unique(pairs: Pairs) -> dict[str, Json]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise DuplicateNameError("tensor header", expected="each name once", got=f"{len(unique)} of {len(pairs)}")
    return unique


def _entry(name: str, item: Json) -> Entry:
    where = f"tensor {name[:80]!r}"
    match item:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if len(item) == 3:
            pass
        case _:
            raise FormatError(where, expected="dtype, shape and data_offsets", got=repr(item)[:80])
    if name == _METADATA or not _is_utf8(name):
        raise FormatError(where, expected="a name in UTF-8 and no metadata")
    if len(shape) > MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise FormatError(where, expected=f"a shape of at most {MAX_DIMENSIONS} sizes", got=repr(shape[:9])[:80])
    width = _WIDTHS.get(dtype)
    if width is not None and end - begin != width * math.prod(shape):
        raise FormatError(where, expected=f"{width * math.prod(shape)} bytes", got=end - begin)
    if not 0 <= begin <= end:
        raise FormatError(where, expected="ascending offsets", got=f"{begin}..{end}")
    return Entry(name, dtype, tuple(shape), begin, end)


def _is_utf8(text: str) -> bool:
    """JSON can escape half of a surrogate pair, which no UTF-8 stands for."""
    return text.encode(errors="ignore").decode() == text


def decode(data: bytes) -> IntTensors:
    """Return the int32 tensors of canonical bytes, as read-only views of them.

    Raises:
        FormatError: if the bytes are not the canonical encoding of int32 tensors.
    """
    entries = read_header(data)
    start = 8 + int.from_bytes(data[:8], "little")
    for entry in entries:
        if entry.dtype != "I32":
            raise FormatError(f"tensor {entry.name[:80]!r}", expected="I32", got=entry.dtype[:80])
    schema = TensorSchema(tuple(entry.name for entry in entries), tuple(entry.shape for entry in entries))
    if list(schema.names) != sorted(schema.names, key=str.encode) or _header(schema) != data[:start]:
        raise FormatError("tensors are not in canonical form", expected="sorted names and a minimal header")
    return {
        entry.name: np.frombuffer(data, _INT32, math.prod(entry.shape), start + entry.begin).reshape(entry.shape)
        for entry in entries
    }


def model_digest(data: bytes) -> Digest:
    """Return the digest of a global model's canonical bytes."""
    return tagged("model", data)
