"""Documents: frozen dataclasses as RFC 8785 canonical JSON, with integers and strings only.

One value has one encoding: after decoding, the document is encoded again and must give the same bytes, so unknown
keys, duplicate keys, other spacing and other orders are all refused. Bytes are 0x-hex, integers beyond 2^53 - 1 are
decimal strings, tuples are arrays, nested dataclasses are objects, dicts have string keys.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import re
import types
import typing
from typing import Any, Final, TypeVar, cast

import rfc8785

from fedchain.core.errors import FormatError
from fedchain.core.json_text import Json, parse

T = TypeVar("T")
_SAFE: Final = 2**53 - 1
_IN_ASCII: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":")
)
_DECIMAL: Final = re.compile("-?[0-9]{1,80}", re.ASCII)


def to_bytes(value: object) -> bytes:
    """Encode a document dataclass as canonical JSON in UTF-8."""
    return _encoded(to_json(value))


def _encoded(value: Json) -> bytes:
    """Encode a JSON value of integers and strings as RFC 8785 says.

    In ASCII the standard library's encoder does the same, forty times as fast: keys sort alike by code points and by
    UTF-16, and strings have the same escapes.
    """
    text = _IN_ASCII.encode(value)
    return text.encode() if text.isascii() else rfc8785.dumps(value)


def to_json(value: object) -> Json:
    """Return the JSON value of a document: dict, list, str, int, bool or None."""
    match value:
        case enum.Enum():
            return to_json(value.value)
        case None | bool() | str():
            return value
        case int():
            return value if -_SAFE <= value <= _SAFE else str(value)
        case bytes():
            return "0x" + value.hex()
        case tuple() | list():
            return [to_json(item) for item in cast("tuple[object, ...]", value)]
        case dict():
            return {str(key): to_json(item) for key, item in cast("dict[str, object]", value).items()}
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {name: to_json(getattr(value, name)) for name in _names(type(value))}
        case _:
            raise TypeError(f"a document holds integers, strings and bytes, got {type(value).__name__}")


def from_bytes(cls: type[T], data: bytes) -> T:
    """Decode a canonical document of the dataclass `cls`.

    Raises:
        FormatError: if the bytes are not the canonical encoding of a `cls`.
    """
    name = cls.__name__
    try:
        raw = parse(data)
    except ValueError as error:
        raise FormatError(f"{name} is not JSON", got=str(error)) from error
    value = cast("T", _decode(cls, raw, name))
    try:
        canonical = to_bytes(value)
    except ValueError as error:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        raise FormatError(f"{name} is not text", expected="UTF-8", got=str(error)) from error
    if canonical != data:
        raise FormatError(f"{name} is not in canonical form", expected="RFC 8785 JSON with exactly its fields")
    return value


@functools.cache
def _names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(cls))


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _decode(kind: object, raw: Json, path: str) -> object:
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _decode_tuple(kind, raw, path)
    if origin is dict:
        _expect(isinstance(raw, dict), path, "an object", raw)
        item = typing.get_args(kind)[1]
        return {key: _decode(item, value, f"{path}[{key[:80]!r}]") for key, value in raw.items()}
    if origin in (types.UnionType, typing.Union):
        if raw is None:
            return None
        (inner,) = [option for option in typing.get_args(kind) if option is not type(None)]
        return _decode(inner, raw, path)
    if origin is typing.Literal:
        _expect(raw in typing.get_args(kind), path, f"one of {typing.get_args(kind)}", raw)
        return raw
    return _decode_plain(kind, raw, path)


def _decode_tuple(kind: object, raw: Json, path: str) -> tuple[object, ...]:
    _expect(isinstance(raw, list), path, "an array", raw)
    item = typing.get_args(kind)[0]
    return tuple(_decode(item, value, f"{path}[{index}]") for index, value in enumerate(raw))


def _decode_plain(kind: object, raw: Json, path: str) -> object:
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(cast("type", kind), raw, path)
    if kind is bool:
        _expect(isinstance(raw, bool), path, "true or false", raw)
        return raw
    if kind is str:
        _expect(isinstance(raw, str), path, "a string", raw)
        return raw
    if kind is bytes:
        return _decode_bytes(raw, path)
    if kind is int:
        return _decode_int(raw, path)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(raw)
        except ValueError:
            raise FormatError(path, expected=f"one of {[member.value for member in kind]}", got=repr(raw)) from None
    raise TypeError(f"{path}: a document cannot hold {kind}")


def _decode_dataclass(cls: type, raw: Json, path: str) -> object:
    _expect(isinstance(raw, dict), path, "an object", raw)
    hints = _hints(cls)
    names = _names(cls)
    _expect(raw.keys() == set(names), path, f"the keys {sorted(names)}", sorted(raw))
    return cls(**{name: _decode(hints[name], raw[name], f"{path}.{name}") for name in raw})


def _decode_bytes(raw: Json, path: str) -> bytes:
    _expect(isinstance(raw, str) and raw.startswith("0x"), path, "0x-prefixed hex", raw)
    try:
        return bytes.fromhex(raw[2:])
    except ValueError:
        raise FormatError(path, expected="0x-prefixed hex", got=repr(raw)[:80]) from None


def _decode_int(raw: Json, path: str) -> int:
    if isinstance(raw, str) and _DECIMAL.fullmatch(raw):
        return int(raw)
    _expect(isinstance(raw, int) and not isinstance(raw, bool), path, "an integer", raw)
    return cast("int", raw)


def _expect(holds: bool, path: str, expected: str, got: object) -> None:
    if not holds:
        raise FormatError(path, expected=expected, got=repr(got)[:80])
