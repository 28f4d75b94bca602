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
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, cast

import rfc8785

from fedchain.core.errors import FormatError
from fedchain.core.json_text import Json, parse

T = TypeVar("T")
_SAFE: Final = 2**53 - 1
_IN_ASCII: Final = json.JSONEncoder(
    ensure_ascii=False, allow_nan=False, check_circular=False, sort_keys=True, separators=(",", ":")
)
_Decoder: TypeAlias = Callable[[Json, str], object]
_Encoder: TypeAlias = Callable[[Any], Json]
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
    return _ENCODER[type(value)](value)


class _Encoders(dict[type[Any], _Encoder]):
    """What encodes values of each type; types are looked into once, not for every value."""

    def __missing__(self, kind: type[Any]) -> _Encoder:
        self[kind] = _encoder_of(kind)
        return self[kind]


def _encoder_of(kind: type[Any]) -> _Encoder:
    if issubclass(kind, enum.Enum):
        return _encode_enum
    for plain, encode in _PLAIN_ENCODERS.items():
        if issubclass(kind, plain):
            return encode
    if dataclasses.is_dataclass(kind):
        return _dataclass_encoder(tuple(field.name for field in dataclasses.fields(kind)))
    raise TypeError(f"a document holds integers, strings and bytes, got {kind.__name__}")


def _dataclass_encoder(names: tuple[str, ...]) -> _Encoder:
    def encode(value: object) -> Json:
        members: dict[str, Json] = {}
        for name in names:
            each: object = getattr(value, name)
            members[name] = _ENCODER[type(each)](each)
        return members

    return encode


def _encode_enum(value: enum.Enum) -> Json:
    return to_json(value.value)


def _as_it_is(value: str | bool | None) -> Json:
    return value


def _encode_bytes(value: bytes) -> Json:
    return "0x" + value.hex()


def _encode_int(value: int) -> Json:
    return value if -_SAFE <= value <= _SAFE else str(value)


def _encode_items(value: Sequence[object]) -> Json:
    return [_ENCODER[type(each)](each) for each in value]


def _encode_dict(value: Mapping[object, object]) -> Json:
    return {str(key): _ENCODER[type(each)](each) for key, each in value.items()}


_PLAIN_ENCODERS: Final[dict[type[Any], _Encoder]] = {
    str: _as_it_is, bytes: _encode_bytes, types.NoneType: _as_it_is, bool: _as_it_is, int: _encode_int,
    tuple: _encode_items, list: _encode_items, dict: _encode_dict,
}  # fmt: skip
"""In this order: a bool is an int, too."""
_ENCODER: Final = _Encoders()


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
    value = cast("T", _decoder(cast("type", cls))(raw, name))
    try:
        canonical = to_bytes(value)
    except ValueError as error:  # half of a surrogate pair, which JSON can escape and UTF-8 cannot hold
        raise FormatError(f"{name} is not text", expected="UTF-8", got=str(error)) from error
    if canonical != data:
        raise FormatError(f"{name} is not in canonical form", expected="RFC 8785 JSON with exactly its fields")
    return value


@functools.cache
def _decoder(kind: object) -> _Decoder:
    """Return what decodes values of a type; types are looked into once, not for every value."""
    origin = typing.get_origin(kind)
    if origin is tuple:
        return _tuple_decoder(_decoder(typing.get_args(kind)[0]))
    if origin is dict:
        return _dict_decoder(_decoder(typing.get_args(kind)[1]))
    if origin in (types.UnionType, typing.Union):
        (option,) = [option for option in typing.get_args(kind) if option is not type(None)]
        inner = _decoder(option)
        return lambda raw, path: None if raw is None else inner(raw, path)
    if origin is typing.Literal:
        return _literal_decoder(typing.get_args(kind))
    if dataclasses.is_dataclass(kind):
        return _dataclass_decoder(cast("type", kind))
    if (members := _enum_of(kind)) is not None:
        return _enum_decoder(members)
    return _PLAIN.get(kind) or _never(kind)


def _enum_of(kind: object) -> type[enum.Enum] | None:
    return kind if isinstance(kind, type) and issubclass(kind, enum.Enum) else None


def _tuple_decoder(item: _Decoder) -> _Decoder:
    def decode(raw: Json, path: str) -> object:
        if not isinstance(raw, list):
            raise _mismatch(path, "an array", raw)
        return tuple(item(value, f"{path}[{index}]") for index, value in enumerate(cast("Sequence[Json]", raw)))

    return decode


def _dict_decoder(item: _Decoder) -> _Decoder:
    def decode(raw: Json, path: str) -> object:
        return {key: item(value, f"{path}[{key[:80]!r}]") for key, value in _object(raw, path).items()}

    return decode


def _literal_decoder(options: tuple[object, ...]) -> _Decoder:
    def decode(raw: Json, path: str) -> object:
        if raw not in options:
            raise _mismatch(path, f"one of {options}", raw)
        return raw

    return decode


def _enum_decoder(kind: type[enum.Enum]) -> _Decoder:
    def decode(raw: Json, path: str) -> object:
        try:
            return kind(raw)
        except ValueError:
            raise FormatError(path, expected=f"one of {[member.value for member in kind]}", got=repr(raw)) from None

    return decode


def _dataclass_decoder(cls: type) -> _Decoder:
    hints = typing.get_type_hints(cls)
    decoders = {field.name: _decoder(hints[field.name]) for field in dataclasses.fields(cls)}

    def decode(raw: Json, path: str) -> object:
        members = _object(raw, path)
        if members.keys() != decoders.keys():
            raise _mismatch(path, f"the keys {sorted(decoders)}", sorted(members))
        return cls(**{name: decoders[name](value, f"{path}.{name}") for name, value in members.items()})

    return decode


def _never(kind: object) -> _Decoder:
    def decode(_: Json, path: str) -> object:
        raise TypeError(f"{path}: a document cannot hold {kind}")

    return decode


def _decode_bool(raw: Json, path: str) -> bool:
    if not isinstance(raw, bool):
        raise _mismatch(path, "true or false", raw)
    return raw


def _decode_str(raw: Json, path: str) -> str:
    if not isinstance(raw, str):
        raise _mismatch(path, "a string", raw)
    return raw


def _decode_bytes(raw: Json, path: str) -> bytes:
    if not (isinstance(raw, str) and raw.startswith("0x")):
        raise _mismatch(path, "0x-prefixed hex", raw)
    try:
        return bytes.fromhex(raw[2:])
    except ValueError:
        raise _mismatch(path, "0x-prefixed hex", raw) from None


def _decode_int(raw: Json, path: str) -> int:
    if isinstance(raw, str) and _DECIMAL.fullmatch(raw):
        return int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool):
        raise _mismatch(path, "an integer", raw)
    return raw


def _object(raw: Json, path: str) -> dict[str, Json]:
    if not isinstance(raw, dict):
        raise _mismatch(path, "an object", raw)
    return cast("dict[str, Json]", raw)


def _mismatch(path: str, expected: str, got: object) -> FormatError:
    return FormatError(path, expected=expected, got=repr(got)[:80])


_PLAIN: Final[dict[object, _Decoder]] = {
    bool: _decode_bool, str: _decode_str, bytes: _decode_bytes, int: _decode_int,
}  # fmt: skip
