"""The embedded chain as a web3.py provider: the part of Ethereum's JSON-RPC that a contract's user needs.

The same code then talks to any other node through web3's HTTPProvider. Errors have the codes of geth, so that web3
raises the same exceptions: 3 for a revert with its data, -32000 for a refusal, -32601 for an unknown method,
-32602 for parameters that it does not take.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

from eth_hash.auto import keccak
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCError, RPCResponse

from fedchain.adapters.evm.chain import EmbeddedChain, RefusedError, RevertedError
from fedchain.adapters.evm.database import LogQuery, LogRow
from fedchain.adapters.evm.encoding import (
    Json,
    block_json,
    log_json,
    parse_block,
    parse_bytes,
    parse_call,
    parse_int,
    parse_log_query,
    receipt_json,
    transaction_json,
)


class EmbeddedProvider(BaseProvider):
    """Serves web3.py from an open chain; several threads may use it."""

    # Off-chain lookups (EIP-3668) would let a contract make this process call any URL.
    global_ccip_read_enabled: ClassVar[bool] = False  # type: ignore[misc]  # web3 declares it per instance

    def __init__(self, chain: EmbeddedChain) -> None:
        super().__init__()
        self._chain = chain
        self._one_at_a_time = threading.Lock()
        self._methods: Mapping[str, Callable[..., Json]] = {
            "web3_clientVersion": lambda: "fedchain/embedded",
            "net_version": lambda: str(chain.chain_id),
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_syncing": lambda: False,
            "eth_blockNumber": lambda: hex(chain.head().block_number),
            "eth_gasPrice": lambda: hex(chain.head().base_fee_per_gas or 0),
            "eth_maxPriorityFeePerGas": lambda: "0x0",
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": self._block,
            "eth_getBlockByHash": self._block_of,
            "eth_getBalance": lambda who, at="latest": hex(chain.balance(parse_bytes(who), parse_block(at))),
            "eth_getTransactionCount": lambda who, at="latest": hex(chain.nonce(parse_bytes(who), parse_block(at))),
            "eth_getCode": lambda who, at="latest": "0x" + chain.code(parse_bytes(who), parse_block(at)).hex(),
            "eth_getStorageAt": self._storage,
            "eth_getProof": self._proof,
            "eth_call": lambda call, at="latest": "0x" + chain.call(parse_call(call), parse_block(at)).hex(),
            "eth_estimateGas": lambda call, at="latest": hex(chain.estimate(parse_call(call), parse_block(at))),
            "eth_sendRawTransaction": lambda raw: "0x" + chain.send(parse_bytes(raw)).transaction.hash.hex(),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionReceipt": self._receipt,
            "eth_getLogs": self._logs,
        }

    def is_connected(self, show_traceback: bool = False) -> bool:  # noqa: ARG002  # web3's signature
        """Return True: the chain is in this process."""
        return True

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:  # noqa: ANN401  # web3's signature
        """Answer one request.

        Raises:
            InputError: if the file is damaged, full, or open for reading only.
        """
        answer = self._methods.get(method)
        if answer is None:
            return _failed(-32601, f"the method {method} does not exist")
        try:
            inspect.signature(answer).bind(*params)
        except TypeError as error:
            return _failed(-32602, f"{method}: {error}")
        try:
            with self._one_at_a_time:
                return cast("RPCResponse", {"jsonrpc": "2.0", "id": 1, "result": answer(*params)})
        except RefusedError as error:
            return _failed(-32000, str(error))
        except RevertedError as error:
            return _failed(3, "execution reverted", "0x" + error.data.hex())

    def _block(self, tag: Json, full: bool = False) -> Json:
        try:
            return block_json(self._chain.block(parse_block(tag)), full=full)
        except RefusedError:
            return None

    def _block_of(self, block_hash: Json, full: bool = False) -> Json:
        try:
            return block_json(self._chain.block_of(parse_bytes(block_hash)), full=full)
        except RefusedError:
            return None

    def _storage(self, address: Json, slot: Json, at: Json = "latest") -> Json:
        value = self._chain.storage(parse_bytes(address), parse_int(slot), parse_block(at))
        return f"0x{value:064x}"

    def _proof(self, address: Json, slots: Json, at: Json = "latest") -> Json:
        account, number = parse_bytes(address), parse_block(at)
        keys = [parse_bytes(slot).rjust(32, b"\0") for slot in slots]
        nodes, paths = self._chain.proof(account, keys, number)
        return {
            "address": address,
            "accountProof": ["0x" + node.hex() for node in nodes],
            "balance": hex(self._chain.balance(account, number)),
            "nonce": hex(self._chain.nonce(account, number)),
            "codeHash": "0x" + keccak(self._chain.code(account, number)).hex(),
            "storageProof": [
                {
                    "key": "0x" + key.hex(),
                    "value": hex(self._chain.storage(account, int.from_bytes(key), number)),
                    "proof": ["0x" + node.hex() for node in path],
                }
                for key, path in zip(keys, paths, strict=True)
            ],
        }

    def _fee_history(self, count: Json, newest: Json, percentiles: Json = ()) -> Json:
        block = self._chain.block(parse_block(newest)).header
        blocks = min(parse_int(count), block.block_number + 1)
        return {
            "oldestBlock": hex(block.block_number - blocks + 1),
            "baseFeePerGas": [hex(block.base_fee_per_gas or 0)] * (blocks + 1),
            "gasUsedRatio": [0.0] * blocks,
            "reward": [["0x0"] * len(percentiles)] * blocks,
        }

    def _transaction(self, transaction_hash: Json) -> Json:
        mined = self._chain.mined(parse_bytes(transaction_hash))
        return None if mined is None else transaction_json(mined)

    def _receipt(self, transaction_hash: Json) -> Json:
        mined = self._chain.mined(parse_bytes(transaction_hash))
        return None if mined is None else receipt_json(mined, self._rows_of(mined.block.block_number))

    def _rows_of(self, block: int) -> list[LogRow]:
        return self._chain.logs(LogQuery(block, block))

    def _logs(self, fields: Json) -> Json:
        query = parse_log_query(fields, self._chain.head().block_number)
        return [log_json(row) for row in self._chain.logs(query)]


def _failed(code: int, message: str, data: str | None = None) -> RPCResponse:
    error: RPCError = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": 1, "error": error}
