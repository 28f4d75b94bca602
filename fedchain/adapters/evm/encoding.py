"""The shapes of Ethereum's JSON-RPC (https://ethereum.github.io/execution-apis): hexadecimal quantities and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eth.abc import BlockAPI, BlockHeaderAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth_hash.auto import keccak
from rlp import encode

from fedchain.adapters.evm.chain import GAS_LIMIT, Call, Mined, RefusedError
from fedchain.adapters.evm.database import LogQuery, LogRow

Json = Any
"""What a JSON-RPC node takes and gives."""


def contract_address(sender: bytes, nonce: int) -> bytes:
    """Return the address of the contract that a sender's transaction creates: keccak256(rlp([sender, nonce]))[12:]."""
    return keccak(encode([sender, nonce]))[12:]


def parse_bytes(value: str | bytes) -> bytes:
    """Return data given as 0x-hex or as bytes."""
    if isinstance(value, bytes):
        return bytes(value)
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except ValueError as error:
        raise RefusedError(f"not hexadecimal: {value[:80]!r}") from error


def parse_int(value: str | int) -> int:
    """Return a quantity given as 0x-hex or as an integer."""
    if isinstance(value, int):
        return value
    try:
        return int(value, 16)
    except ValueError as error:
        raise RefusedError(f"not a quantity: {value[:80]!r}") from error


def parse_block(tag: str | int | None) -> int | None:
    """Return a block number, or None for the last block, which is final as soon as it is mined."""
    if tag in (None, "latest", "pending", "safe", "finalized"):
        return None
    return 0 if tag == "earliest" else parse_int(tag)


def parse_call(fields: Mapping[str, Json]) -> Call:
    """Return the call of eth_call and eth_estimateGas."""
    return Call(
        sender=parse_bytes(fields.get("from") or bytes(20)),
        to=parse_bytes(fields["to"]) if fields.get("to") else None,
        data=parse_bytes(fields.get("data") or fields.get("input") or b""),
        value=parse_int(fields.get("value") or 0),
        gas=min(parse_int(fields.get("gas") or GAS_LIMIT), GAS_LIMIT),
    )


def parse_log_query(fields: Mapping[str, Json], head: int) -> LogQuery:
    """Return the filter of eth_getLogs; `head` is the number of the last block."""
    if "blockHash" in fields:
        raise RefusedError("filter logs by block numbers")
    first, last = parse_block(fields.get("fromBlock")), parse_block(fields.get("toBlock"))
    return LogQuery(
        first=head if first is None else first,
        last=head if last is None else last,
        addresses=_alternatives(fields.get("address")),
        topics=[_alternatives(topic) for topic in fields.get("topics") or []],
    )


def _alternatives(value: Json) -> Sequence[bytes]:
    if value is None:
        return ()
    return [parse_bytes(item) for item in value] if isinstance(value, list | tuple) else (parse_bytes(value),)


def log_json(row: LogRow) -> dict[str, Json]:
    """Return a log."""
    return {
        "address": _data(row.address),
        "topics": [_data(topic) for topic in row.topics],
        "data": _data(row.data),
        "blockNumber": hex(row.block),
        "blockHash": _data(row.block_hash),
        "blockTimestamp": hex(row.timestamp),
        "transactionHash": _data(row.transaction_hash),
        "transactionIndex": "0x0",
        "logIndex": hex(row.position),
        "removed": False,
    }


def block_json(block: BlockAPI, *, full: bool) -> dict[str, Json]:
    """Return a block, with whole transactions or their hashes."""
    header = block.header
    transactions = [_transaction(transaction, header) for transaction in block.transactions]
    return {
        "number": hex(header.block_number),
        "hash": _data(header.hash),
        "parentHash": _data(header.parent_hash),
        "nonce": _data(header.nonce),
        "sha3Uncles": _data(header.uncles_hash),
        "logsBloom": _data(header.bloom.to_bytes(256)),
        "transactionsRoot": _data(header.transaction_root),
        "stateRoot": _data(header.state_root),
        "receiptsRoot": _data(header.receipt_root),
        "withdrawalsRoot": _data(header.withdrawals_root or bytes(32)),
        "miner": _data(header.coinbase),
        "difficulty": hex(header.difficulty),
        "extraData": _data(header.extra_data),
        "mixHash": _data(header.mix_hash),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "baseFeePerGas": hex(header.base_fee_per_gas or 0),
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": _data(header.parent_beacon_block_root or bytes(32)),
        "size": hex(len(encode(block))),
        "transactions": transactions if full else [transaction["hash"] for transaction in transactions],
        "uncles": [],
        "withdrawals": [],
    }


def transaction_json(mined: Mined) -> dict[str, Json]:
    """Return a mined transaction."""
    return _transaction(mined.transaction, mined.block)


def _transaction(transaction: Json, header: BlockHeaderAPI) -> dict[str, Json]:
    return {
        "hash": _data(transaction.hash),
        "type": hex(transaction.type_id or 0),
        "chainId": hex(transaction.chain_id),
        "nonce": hex(transaction.nonce),
        "from": _data(transaction.sender),
        "to": None if transaction.to == CREATE_CONTRACT_ADDRESS else _data(transaction.to),
        "value": hex(transaction.value),
        "input": _data(transaction.data),
        "gas": hex(transaction.gas),
        "gasPrice": hex(_price(transaction, header)),
        "maxFeePerGas": hex(transaction.max_fee_per_gas),
        "maxPriorityFeePerGas": hex(transaction.max_priority_fee_per_gas),
        "blockNumber": hex(header.block_number),
        "blockHash": _data(header.hash),
        "transactionIndex": "0x0",
    }


def receipt_json(mined: Mined, rows: Sequence[LogRow]) -> dict[str, Json]:
    """Return the receipt of a mined transaction with its logs."""
    transaction, header, receipt = mined.transaction, mined.block, mined.receipt
    is_creation = transaction.to == CREATE_CONTRACT_ADDRESS
    return {
        "transactionHash": _data(transaction.hash),
        "transactionIndex": "0x0",
        "type": hex(transaction.type_id or 0),
        "blockNumber": hex(header.block_number),
        "blockHash": _data(header.hash),
        "from": _data(transaction.sender),
        "to": None if is_creation else _data(transaction.to),
        "contractAddress": _data(contract_address(transaction.sender, transaction.nonce)) if is_creation else None,
        "status": hex(int(receipt.state_root == b"\x01")),
        "gasUsed": hex(receipt.gas_used),
        "cumulativeGasUsed": hex(receipt.gas_used),
        "effectiveGasPrice": hex(_price(transaction, header)),
        "logsBloom": _data(receipt.bloom.to_bytes(256)),
        "logs": [log_json(row) for row in rows],
    }


def _price(transaction: Json, header: BlockHeaderAPI) -> int:
    base = header.base_fee_per_gas or 0
    return min(int(transaction.max_fee_per_gas), base + int(transaction.max_priority_fee_per_gas))


def _data(value: bytes) -> str:
    return "0x" + value.hex()
