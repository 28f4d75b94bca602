"""Unsigned varints as multiformats has them: LEB128, seven bits a byte, the low ones first, at most nine bytes."""

from __future__ import annotations

from typing import Final

from fedchain.core.errors import FormatError

MOST_BYTES: Final = 9


def uvarint(value: int) -> bytes:
    """Return the shortest encoding: the high bit is set on all bytes but the last."""
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def read_uvarint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number at `position` and the position after it.

    Raises:
        FormatError: if it does not end within nine bytes.
    """
    value = 0
    for index, byte in enumerate(data[position : position + MOST_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise FormatError("a varint does not end", expected="at most nine bytes", got="more or none")
