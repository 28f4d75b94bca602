"""The compiled contracts as this package ships them, and how their calls, events and errors are written.

Python's message classes, EIP-712's types and Solidity's structs are one list of members, so encoding goes by position;
the names that Solidity uses play no part. See https://docs.soliditylang.org/en/latest/abi-spec.html.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_hash.auto import keccak

from fedchain.core.errors import FormatError

_BUILT_IN: Final = {
    keccak(b"Error(string)")[:4]: ("Error", ["string"], ["reason"]),
    keccak(b"Panic(uint256)")[:4]: ("Panic", ["uint256"], ["code"]),
}


@dataclass(frozen=True, slots=True)
class Event:
    """An event's topic and the types of its members, indexed ones (all of static size) apart."""

    name: str
    topic: bytes
    indexed: tuple[str, ...]
    data: tuple[str, ...]

    def decode(self, topics: Sequence[bytes], data: bytes) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Return the values of the indexed members and of the others.

        Raises:
            FormatError: if the log is not this event.
        """
        try:
            return decode(self.indexed, b"".join(topics[1:])), decode(self.data, data)
        except (DecodingError, OverflowError) as error:
            raise FormatError(f"log is no {self.name} event", got=error) from error


@dataclass(frozen=True, slots=True)
class Contract:
    """A contract's creation code and what it answers to."""

    bytecode: bytes
    constructor: tuple[str, ...]
    functions: dict[str, tuple[str, ...]]
    outputs: dict[str, tuple[str, ...]]
    events: dict[str, Event]
    errors: dict[bytes, tuple[str, list[str], list[str]]]

    def creation(self, *arguments: object) -> bytes:
        """Return the data of the transaction that creates the contract."""
        return self.bytecode + encode(self.constructor, arguments)

    def call(self, function: str, *arguments: object) -> bytes:
        """Return the data of a call."""
        types = self.functions[function]
        return keccak(f"{function}({','.join(types)})".encode())[:4] + encode(types, arguments)

    def result(self, function: str, output: bytes) -> tuple[Any, ...]:
        """Return what a function returned.

        Raises:
            FormatError: if the output has other types; an address without a contract returns nothing at all.
        """
        try:
            return decode(self.outputs[function], output)
        except (DecodingError, OverflowError) as error:
            raise FormatError(f"answer of {function}", expected=", ".join(self.outputs[function]), got=error) from error

    def describe(self, revert: bytes) -> str:
        """Return a revert as a readable line, such as `WrongNonce(expected 2, got 1)`."""
        name, types, names = (_BUILT_IN | self.errors).get(revert[:4], ("", [], []))
        if not name:
            return f"unknown error 0x{revert.hex()[:200]}" if revert else "no reason given"
        try:
            values = decode(types, revert[4:])
        except (DecodingError, OverflowError):
            return name
        return f"{name}({', '.join(f'{n} {_shown(v)}' for n, v in zip(names, values, strict=True))})"


def _shown(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)[:200]


@functools.cache
def contract(name: str) -> Contract:
    """Return one of the shipped contracts, such as FedRegistry or RoundLedger."""
    text = resources.files("fedchain.adapters.evm").joinpath("artifacts", f"{name}.json").read_text("utf-8")
    artifact = json.loads(text)
    items: dict[str, list[dict[str, Any]]] = {"function": [], "event": [], "error": [], "constructor": []}
    for item in artifact["abi"]:
        items[item["type"]].append(item)
    return Contract(
        bytecode=bytes.fromhex(artifact["bytecode"].removeprefix("0x")),
        constructor=_types(items["constructor"][0]["inputs"]),
        functions={item["name"]: _types(item["inputs"]) for item in items["function"]},
        outputs={item["name"]: _types(item["outputs"]) for item in items["function"]},
        events={item["name"]: _event(item) for item in items["event"]},
        errors=dict(_error(item) for item in items["error"]),
    )


def _types(members: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(_type(member) for member in members)


def _type(member: dict[str, Any]) -> str:
    kind = cast("str", member["type"])
    return kind.replace("tuple", f"({','.join(_types(member['components']))})") if "components" in member else kind


def _event(item: dict[str, Any]) -> Event:
    inputs = item["inputs"]
    return Event(
        name=item["name"],
        topic=keccak(f"{item['name']}({','.join(_types(inputs))})".encode()),
        indexed=_types([member for member in inputs if member["indexed"]]),
        data=_types([member for member in inputs if not member["indexed"]]),
    )


def _error(item: dict[str, Any]) -> tuple[bytes, tuple[str, list[str], list[str]]]:
    types = list(_types(item["inputs"]))
    selector = keccak(f"{item['name']}({','.join(types)})".encode())[:4]
    return selector, (item["name"], types, [member["name"] for member in item["inputs"]])
