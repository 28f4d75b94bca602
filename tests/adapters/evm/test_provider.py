"""The embedded chain through web3.py: the answers have the form that any node's have."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3
from web3.exceptions import BlockNotFound, ContractCustomError, MethodUnavailable, TransactionNotFound
from web3.types import RPCEndpoint

from fedchain.adapters.evm.abi import contract
from fedchain.adapters.evm.chain import FUNDS
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.provider import EmbeddedProvider
from fedchain.core.digest import ZERO
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.signatures import checksum_address as plain_checksum
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, CHAIN_ID, OPERATOR, SITE, STRANGER, Deployed, deployed

RUN = b"\x77" * 32
LINK = RoundLink(RUN, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)


def checksum_address(address: bytes) -> Any:  # web3's address types are distinct strings
    return plain_checksum(address)


@pytest.fixture
def contracts(tmp_path: Path) -> Iterator[Deployed]:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as opened:
        yield opened


@pytest.fixture
def web3(contracts: Deployed) -> Web3:
    return Web3(EmbeddedProvider(contracts.chain))


def test_the_chain_introduces_itself(web3: Web3) -> None:
    assert web3.is_connected()
    assert web3.eth.chain_id == CHAIN_ID
    assert web3.net.version == str(CHAIN_ID)
    assert web3.client_version == "fedchain/embedded"
    assert web3.eth.syncing is False


def test_accounts_are_readable_at_any_block(web3: Web3, contracts: Deployed) -> None:
    address = checksum_address(STRANGER.address)
    for block in ("latest", "earliest", "pending", "safe", "finalized", 0, 1):
        assert web3.eth.get_balance(address, block) == FUNDS
    registry = checksum_address(contracts.identity.registry_contract)
    assert web3.eth.get_code(registry, 0) == b""
    assert len(web3.eth.get_code(registry)) > 1000
    assert web3.eth.get_transaction_count(checksum_address(AGGREGATOR.address)) == 0


def test_a_storage_slot_is_readable(web3: Web3, contracts: Deployed) -> None:
    EvmRegistry(contracts.node, contracts.identity, OPERATOR).add_organisation(b"\x01" * 32, SITE.address)
    (head,) = contracts.node.call(contracts.identity.registry_contract, contract("FedRegistry"), "registryHead")
    registry = checksum_address(contracts.identity.registry_contract)
    slots = [bytes(web3.eth.get_storage_at(registry, slot)) for slot in range(8)]
    assert head in slots
    assert all(len(slot) == 32 for slot in slots)


def test_a_block_holds_its_transaction(web3: Web3, contracts: Deployed) -> None:
    seal = EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)
    block = web3.eth.get_block("latest", full_transactions=True)
    (transaction,) = block["transactions"]
    assert web3.eth.get_block(block["number"])["transactions"] == [seal.transaction]
    assert web3.eth.get_block(block["hash"]) == web3.eth.get_block("latest")
    assert web3.eth.get_block(block["number"] - 1)["hash"] == block["parentHash"]
    assert block["timestamp"] == ManualClock().time
    same = web3.eth.get_transaction(seal.transaction)  # type: ignore[arg-type]  # bytes will do
    assert same == transaction
    assert same["from"] == checksum_address(AGGREGATOR.address)
    assert same["to"] == checksum_address(contracts.identity.rounds_contract)


def test_a_receipt_says_what_happened(web3: Web3, contracts: Deployed) -> None:
    seal = EvmLedger(contracts.node, contracts.identity, AGGREGATOR).seal(LINK, ZERO)
    receipt = web3.eth.get_transaction_receipt(seal.transaction)  # type: ignore[arg-type]  # bytes will do
    assert receipt["status"] == 1
    assert receipt["gasUsed"] == receipt["cumulativeGasUsed"] == web3.eth.get_block("latest")["gasUsed"]
    assert receipt["effectiveGasPrice"] == web3.eth.gas_price
    assert [bytes(log["data"])[:32] for log in receipt["logs"]] == [seal.round_hash]
    assert receipt["logs"] == web3.eth.get_logs({"fromBlock": receipt["blockNumber"]})


def test_what_is_not_there_is_not_found(web3: Web3) -> None:
    with pytest.raises(BlockNotFound):
        web3.eth.get_block(999)
    with pytest.raises(BlockNotFound):
        web3.eth.get_block("0x" + "ab" * 32)  # type: ignore[arg-type]  # plain text will do
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction("0x" + "ab" * 32)  # type: ignore[arg-type]  # plain text will do
    with pytest.raises(TransactionNotFound):
        web3.eth.get_transaction_receipt("0x" + "ab" * 32)  # type: ignore[arg-type]  # plain text will do


def test_logs_are_filtered_as_on_any_node(web3: Web3, contracts: Deployed) -> None:
    ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
    ledger.seal(LINK, ZERO)
    at = web3.eth.block_number
    rounds = checksum_address(contracts.identity.rounds_contract)
    topic = "0x" + contract("RoundLedger").events["RoundSealed"].topic.hex()
    run, other = "0x" + RUN.hex(), "0x" + bytes(32).hex()
    for query, count in (
        ({"fromBlock": 0}, 4 + 1),
        ({"fromBlock": at}, 1),
        ({"fromBlock": 0, "toBlock": at - 1}, 4),
        ({"fromBlock": 0, "toBlock": "latest", "address": rounds, "topics": [topic]}, 1),
        ({"fromBlock": 0, "address": [rounds], "topics": [None, None, run]}, 1),
        ({"fromBlock": 0, "topics": [[topic, other], None, [run, other]]}, 1),
        ({"fromBlock": 0, "topics": [None, None, other]}, 0),
        ({"fromBlock": at + 1}, 0),
        ({}, 1),
    ):
        found: Any = web3.eth.get_logs(query)  # type: ignore[arg-type]  # plain text will do
        assert len(found) == count, query


def test_a_custom_error_arrives_with_its_data(web3: Web3, contracts: Deployed) -> None:
    data = contract("RoundLedger").call("setAggregator", STRANGER.address)
    with pytest.raises(ContractCustomError) as refusal:
        web3.eth.call(
            {
                "from": checksum_address(STRANGER.address),
                "to": checksum_address(contracts.identity.rounds_contract),
                "data": "0x" + data.hex(),  # type: ignore[typeddict-item]  # plain text will do
            }
        )
    assert "OwnableUnauthorizedAccount" in contract("RoundLedger").describe(
        bytes.fromhex(str(refusal.value.data).removeprefix("0x"))
    )


def test_fees_are_the_embedded_chains(web3: Web3) -> None:
    history = web3.eth.fee_history(3, "latest", [50])
    assert history["oldestBlock"] == 0
    assert history["baseFeePerGas"] == [web3.eth.gas_price] * 4
    assert history["reward"] == [[0]] * 3
    assert web3.eth.max_priority_fee == 0


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("eth_getBalance", ["0xzz"]),
        ("eth_getBlockByNumber", ["nonsense", False]),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32}]),
        ("eth_call", [{"to": "0x" + "00" * 20, "value": "nonsense"}, "latest"]),
        ("eth_getBalance", ["0x" + "00" * 20, "0x999"]),
        ("eth_sendRawTransaction", ["0x02"]),
        ("eth_getBalance", []),
        ("eth_getStorageAt", ["0x" + "00" * 20, "0x" + "ff" * 33, "latest"]),
    ],
)
def test_a_request_without_sense_is_an_error_and_no_crash(
    contracts: Deployed, method: str, parameters: list[object]
) -> None:
    answer = EmbeddedProvider(contracts.chain).make_request(RPCEndpoint(method), parameters)
    assert "error" in answer or answer["result"] is None


def test_an_unknown_method_says_so(web3: Web3, contracts: Deployed) -> None:
    answer = EmbeddedProvider(contracts.chain).make_request(RPCEndpoint("eth_mining"), [])
    assert answer["error"] == {"code": -32601, "message": "the method eth_mining does not exist"}
    with pytest.raises(MethodUnavailable):
        web3.geth.txpool.status()
