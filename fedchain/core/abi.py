"""ABI words: static Solidity values, each in one 32-byte word, and strict about their size.

Every static value is one big-endian word (https://docs.soliditylang.org/en/latest/abi-spec.html), and encodeData of
EIP-712 is the same concatenation. Common libraries pad a short bytes32 with zeros, which gives two values one hash;
here a value has its exact size or is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fedchain.core.errors import FormatError

WORD: Final = 32
_BYTES: Final = {"bytes32": 32, "address": 20}


def words(kinds: Sequence[str], values: Sequence[object]) -> bytes:
    """Return the ABI encoding of values of the types bytes32, address (20 bytes) and uint8 to uint256.

    Raises:
        FormatError: if a value does not fit its type.
    """
    return b"".join(_word(kind, value) for kind, value in zip(kinds, values, strict=True))


def _word(kind: str, value: object) -> bytes:
    match value:
        case bytes() if len(value) == _BYTES.get(kind):
            return value.rjust(WORD, b"\0")
        case int() if kind.startswith("uint") and 0 <= value < 1 << int(kind[4:]):
            return value.to_bytes(WORD)
        case _:
            raise FormatError("value to be hashed", expected=f"a value of type {kind}", got=repr(value)[:80])
