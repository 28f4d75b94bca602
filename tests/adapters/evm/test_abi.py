"""How calls, events and errors of the shipped contracts are written and read."""

from __future__ import annotations

import contextlib

import pytest
from eth_abi.abi import encode
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.evm.abi import contract
from fedchain.adapters.evm.events import LINK_TOPICS, REGISTRY, ROUNDS, decode_event
from fedchain.adapters.evm.node import Log
from fedchain.core.eip712 import members
from fedchain.core.errors import FormatError
from fedchain.core.messages import (
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
)
from fedchain.ports.ledger import LedgerIdentity, LinkEvent

IDENTITY = LedgerIdentity(1, b"\x01" * 20, b"\x02" * 20, b"\x03" * 32)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("registerDevice", RegisterDevice),
        ("revokeDevice", RevokeDevice),
        ("registerDataset", RegisterDataset),
        ("grantConsent", ConsentGrant),
        ("withdrawConsent", ConsentWithdraw),
    ],
)
def test_a_message_has_the_same_members_in_python_and_in_solidity(
    function: str, message: type[RegistryMessage]
) -> None:
    struct, signature = REGISTRY.functions[function]
    assert struct == f"({','.join(kind for kind, _ in members(message.TYPE))})"
    assert signature == "bytes"


def test_a_call_starts_with_its_selector() -> None:
    assert ROUNDS.call("headOf", bytes(32)) == keccak(b"headOf(bytes32)")[:4] + bytes(32)


def test_errors_are_readable() -> None:
    wrong_nonce = keccak(b"WrongNonce(uint64,uint64)")[:4] + encode(["uint64", "uint64"], [2, 1])
    assert REGISTRY.describe(wrong_nonce) == "WrongNonce(expected 2, got 1)"
    assert REGISTRY.describe(wrong_nonce[:10]) == "WrongNonce"
    assert REGISTRY.describe(keccak(b"Error(string)")[:4] + encode(["string"], ["no"])) == "Error(reason no)"
    assert REGISTRY.describe(keccak(b"Panic(uint256)")[:4] + encode(["uint256"], [17])) == "Panic(code 17)"
    assert REGISTRY.describe(b"\xde\xad\xbe\xef") == "unknown error 0xdeadbeef"
    assert REGISTRY.describe(b"") == "no reason given"


@given(data=st.binary(max_size=200))
def test_any_revert_is_described_in_one_printable_line(data: bytes) -> None:
    for selector in (b"", *REGISTRY.errors, keccak(b"Error(string)")[:4], keccak(b"Panic(uint256)")[:4]):
        line = REGISTRY.describe(selector + data)
        assert line.isprintable()
        assert len(line) < 1000


def test_an_answer_of_another_form_is_a_format_error() -> None:
    for output in (b"", b"\x01", bytes(31)):
        with pytest.raises(FormatError, match="answer of headOf"):
            ROUNDS.result("headOf", output)


@given(
    topic=st.sampled_from([each.topic for each in (*REGISTRY.events.values(), *ROUNDS.events.values())]),
    rest=st.lists(st.binary(min_size=32, max_size=32), max_size=3),
    data=st.binary(max_size=600),
    address=st.sampled_from([IDENTITY.registry_contract, IDENTITY.rounds_contract]),
)
def test_any_log_is_an_event_or_a_format_error_or_nothing(
    topic: bytes, rest: list[bytes], data: bytes, address: bytes
) -> None:
    with contextlib.suppress(FormatError):
        decode_event(Log(address, (topic, *rest), data, 0, bytes(32)), IDENTITY)


def test_a_link_event_of_a_foreign_contract_or_federation_is_none_of_ours() -> None:
    topics = (LINK_TOPICS[0], IDENTITY.federation, b"\x07" * 32, (3).to_bytes(32))
    data = bytes(7 * 32) + encode(["uint32", "uint32"], [4, 1])
    ours = decode_event(Log(IDENTITY.rounds_contract, topics, data, 9, b"t" * 32), IDENTITY)
    assert isinstance(ours, LinkEvent)
    assert (ours.link.run, ours.link.round, ours.link.accepted, ours.at) == (b"\x07" * 32, 3, 4, 9)
    for address in (IDENTITY.registry_contract, b"\x09" * 20):
        assert decode_event(Log(address, topics, data, 9, b"t" * 32), IDENTITY) is None
    assert decode_event(Log(IDENTITY.rounds_contract, (), data, 9, b"t" * 32), IDENTITY) is None


def test_the_shipped_contracts_are_read_once() -> None:
    assert contract("FedRegistry") is REGISTRY
