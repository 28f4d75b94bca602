"""EIP-712 typed data: domain separators, struct hashes and the digests that are signed.

A message is a frozen dataclass with a class attribute `TYPE`, its EIP-712 type string. Members are static, each one
32-byte word, or `bytes`, for which their keccak256 stands (https://eips.ethereum.org/EIPS/eip-712).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, cast

from eth_hash.auto import keccak

from fedchain.core.abi import words
from fedchain.core.digest import Digest

_DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


class TypedMessage(Protocol):
    """A frozen dataclass whose `TYPE` names its members in camelCase, in the order of its snake_case fields."""

    TYPE: ClassVar[str]

    def __hash__(self) -> int:
        """A frozen dataclass has one."""
        ...


@dataclass(frozen=True, slots=True)
class Domain:
    """Where a signature is valid: one chain and one contract (20-byte address)."""

    chain_id: int
    contract: bytes

    def separator(self) -> Digest:
        """Return the domain separator with name "fedchain" and version "1".

        Raises:
            FormatError: if the chain id is no uint256 or the contract no address.
        """
        return _separator(self.chain_id, self.contract)


@functools.lru_cache(maxsize=64)  # bounded: a hostile reply names any domain
def _separator(chain_id: int, contract: bytes) -> Digest:
    return keccak(
        words(
            ["bytes32", "bytes32", "bytes32", "uint256", "address"],
            [keccak(_DOMAIN_TYPE.encode()), keccak(b"fedchain"), keccak(b"1"), chain_id, contract],
        )
    )


@functools.cache
def members(type_string: str) -> tuple[tuple[str, str], ...]:
    """Return (solidity type, python field name) of each member of an EIP-712 type string."""
    inner = type_string[type_string.index("(") + 1 : -1]
    pairs = [cast("tuple[str, str]", tuple(member.split(" "))) for member in inner.split(",")]
    return tuple((kind, _field_name(name)) for kind, name in pairs)


def _field_name(camel: str) -> str:
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", camel).lower()
    return "from_" if snake == "from" else snake


@functools.cache
def type_hash(type_string: str) -> Digest:
    """Return keccak256 of the type string."""
    return keccak(type_string.encode("ascii"))


def struct_hash(message: TypedMessage) -> Digest:
    """Return hashStruct(message) = keccak256(typeHash || encodeData(message)).

    Raises:
        FormatError: if a member does not fit its Solidity type.
    """
    encoded = [_encoded(kind, getattr(message, name)) for kind, name in members(message.TYPE)]
    return keccak(type_hash(message.TYPE) + words([kind for kind, _ in encoded], [value for _, value in encoded]))


def _encoded(kind: str, value: object) -> tuple[str, object]:
    if kind == "bytes" and isinstance(value, bytes):
        return "bytes32", keccak(value)
    return kind, value


@functools.lru_cache(maxsize=1 << 10)  # a receipt's is the same for all sites; the others are signed, then checked
def signing_digest(domain: Domain, message: TypedMessage) -> Digest:
    """Return keccak256(0x1901 || domainSeparator || hashStruct(message)), the 32 bytes that are signed.

    Raises:
        FormatError: if a member does not fit its Solidity type.
    """
    return keccak(b"\x19\x01" + domain.separator() + struct_hash(message))
