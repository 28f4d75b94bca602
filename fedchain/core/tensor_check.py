"""Whether the bytes of a reply are an update of the declared schema and encoding, and if not, in which way.

Nothing here trusts the bytes: the header is capped and compared before a tensor is touched.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from fedchain.core.envelope import Envelope
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.rejection import Reason
from fedchain.core.tensors import DuplicateNameError, Entry, IntTensors, TensorSchema, decode, read_header

_FLOATS: Final = {"F32": Reason.FLOAT32, "F64": Reason.FLOAT64, "F16": Reason.FLOAT32, "BF16": Reason.FLOAT32}
_NUMPY_FLOATS: Final = {"F32": "<f4", "F64": "<f8", "F16": "<f2"}
_INTEGERS: Final = ("I8", "I16", "I64", "U8", "U16", "U32", "U64")


def check_tensors(envelope: Envelope, schema: TensorSchema, encoding: FixedPoint) -> IntTensors | Reason:
    """Return the update's tensors, or the first reason to refuse them."""
    if (envelope.fraction_bits, envelope.width) != (encoding.fraction_bits, encoding.width):
        return Reason.OTHER_ENCODING
    try:
        entries = read_header(envelope.update)
    except DuplicateNameError:
        return Reason.DUPLICATE_NAME
    except FormatError:
        return Reason.NOT_CANONICAL
    refusal = _dtype_refusal(entries, envelope.update) or _schema_refusal(entries, schema)
    if refusal is not None:
        return refusal
    try:
        tensors = decode(envelope.update)
    except FormatError:
        return Reason.NOT_CANONICAL
    limit = encoding.limit
    if any(array.size and int(array.min()) < -limit for array in tensors.values()):
        return Reason.OUT_OF_RANGE
    return tensors


def _dtype_refusal(entries: tuple[Entry, ...], data: bytes) -> Reason | None:
    start = 8 + int.from_bytes(data[:8], "little")
    for entry in entries:
        match entry.dtype:
            case "I32":
                continue
            case "F32" | "F64" | "F16" | "BF16":
                return Reason.NOT_FINITE if _has_non_finite(entry, data, start) else _FLOATS[entry.dtype]
            case "BOOL":
                return Reason.BOOL
            case "C64" | "C128":
                return Reason.COMPLEX
            case dtype if dtype in _INTEGERS:
                return Reason.OTHER_ENCODING
            case _:
                return Reason.NOT_NUMERIC
    return None


def _has_non_finite(entry: Entry, data: bytes, start: int) -> bool:
    dtype = _NUMPY_FLOATS.get(entry.dtype)
    if dtype is None:
        return False
    values = np.frombuffer(data, dtype, math.prod(entry.shape), start + entry.begin)
    return not bool(np.isfinite(values).all())


def _schema_refusal(entries: tuple[Entry, ...], schema: TensorSchema) -> Reason | None:
    shapes = {entry.name: entry.shape for entry in entries}
    declared = dict(zip(schema.names, schema.shapes, strict=True))
    for name, shape in shapes.items():
        if name in declared and shape != declared[name]:
            return Reason.SHAPE_OF_ONE if shape == (1,) else Reason.OTHER_SHAPE
    if declared.keys() - shapes.keys():
        return Reason.MISSING_TENSOR
    if shapes.keys() - declared.keys():
        return Reason.EXTRA_TENSOR
    return None
