"""Models as safetensors files, for other tools: written in float64, which holds fixed point exactly, and read back.

A file that is written has sorted metadata and is the same bytes for the same model: the safetensors library writes
metadata in any order. A file that is read may come from anywhere: whatever is not the model that is asked for is
refused by the name of the tensor.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fedchain.adapters.files import explained, make_folder, replace_file
from fedchain.core.errors import InputError
from fedchain.core.tensors import Entry, FloatTensors, TensorSchema, read_header

FORMAT: Final = "fedchain/checkpoint/1"
_FLOATS: Final[dict[str, np.dtype[Any]]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
_START_AGAIN: Final = "choose the file of this very model, or model options that fit the file"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a model is, as a file says it: ids and digests in 0x-hex, `round` 0 for the model that a run began with.

    `metric` and `value` are of the test rows of all sites, "" where there is none.
    """

    run: str
    round: int
    cid: str
    digest: str
    metric: str = ""
    value: str = ""

    def metadata(self) -> dict[str, str]:
        """Return the file's metadata."""
        plain = {"run": self.run, "round": str(self.round), "cid": self.cid, "digest": self.digest}
        scored = {"metric": self.metric, "value": self.value, "evaluated_on": "test rows of all sites (simulation)"}
        return {"format": FORMAT, **plain, **(scored if self.metric else {})}


def write_model(path: Path, tensors: FloatTensors, checkpoint: Checkpoint) -> None:
    """Write a model with what it is, over what stood there, whole or not at all.

    Raises:
        InputError: if it cannot be written.
    """
    make_folder(path.parent)
    replace_file(path, encoded(tensors, checkpoint.metadata()))


def encoded(tensors: FloatTensors, metadata: Mapping[str, str]) -> bytes:
    """Return the bytes of a safetensors file: tensors and metadata sorted by name, float64, little-endian."""
    schema = TensorSchema.of(tensors)
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    offset = 0
    for name, shape in zip(schema.names, schema.shapes, strict=True):
        end = offset + 8 * math.prod(shape)
        header[name] = {"dtype": "F64", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    data = [np.ascontiguousarray(tensors[name], "<f8").data for name in schema.names]
    return b"".join([len(text).to_bytes(8, "little"), text, *data])


def digest_of(path: Path) -> str:
    """Return a file's sha256 in hex.

    Raises:
        InputError: if there is no such file, or it cannot be read.
    """
    with explained(path):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def read_model(path: Path, schema: TensorSchema, passed_over: Collection[str] = ()) -> FloatTensors:
    """Return the tensors of a safetensors file in float64, which have to be exactly those of the model.

    Tensors that the model freezes are `passed_over`.

    Raises:
        InputError: if there is no such file, it is no safetensors file, or it holds another model.
    """
    with explained(path):
        data = path.read_bytes()
    try:
        entries = {each.name: each for each in read_header(data, is_foreign=True) if each.name not in passed_over}
    except InputError as error:
        raise InputError(f"{path} is no safetensors file", got=error, remedy="write one with safetensors") from error
    _check_names(path, schema, entries)
    start = 8 + int.from_bytes(data[:8], "little")
    wanted = zip(schema.names, schema.shapes, strict=True)
    return {name: _tensor(path, data, start, entries[name], shape) for name, shape in wanted}


def _check_names(path: Path, schema: TensorSchema, entries: Mapping[str, Entry]) -> None:
    missing = [name for name in schema.names if name not in entries]
    unknown = sorted(set(entries) - set(schema.names))
    if missing or unknown:
        what = f"{path} has no tensor {missing[0][:80]}" if missing else f"{path} has a tensor {unknown[0][:80]}"
        names = ", ".join(name[:40] for name in schema.names[:8])
        held = ", ".join(name[:40] for name in sorted(entries)[:8]) or "none"
        raise InputError(f"{what}: it holds another model", expected=names, got=held, remedy=_START_AGAIN)


def _tensor(path: Path, data: bytes, start: int, entry: Entry, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    where = f"{path}: tensor {entry.name[:80]}"
    if entry.shape != shape:
        raise InputError(f"{where} is another model's", expected=f"shape {shape}", got=entry.shape, remedy=_START_AGAIN)
    count, offset = math.prod(shape), start + entry.begin
    if entry.dtype == "BF16":  # the upper half of a float32
        halves = np.frombuffer(data, "<u2", count, offset).astype(np.uint32) << 16
        return halves.view(np.float32).astype(np.float64).reshape(shape)
    if entry.dtype not in _FLOATS:
        raise InputError(where, expected="floating point", got=entry.dtype[:20], remedy=_START_AGAIN)
    values: npt.NDArray[Any] = np.frombuffer(data, _FLOATS[entry.dtype], count, offset)
    return values.astype(np.float64).reshape(shape)
