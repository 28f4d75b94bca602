"""A JSON-RPC node as the ledger needs it: calls, logs, and transactions signed here and confirmed there.

Every failure becomes one of our errors. A transaction is first tried with eth_estimateGas: what the contract would
refuse is refused before it costs anything. Reads are of the last block that counts as confirmed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from web3 import Web3
from web3.exceptions import Web3RPCError
from web3.types import FilterParams, RPCEndpoint, TxParams

from fedchain.adapters.evm.abi import Contract
from fedchain.adapters.evm.answers import checksummed, prefixed, translated
from fedchain.adapters.evm.proof import StorageProof, header_fields
from fedchain.adapters.evm.sending import Rules, Sender
from fedchain.adapters.evm.transactions import Request
from fedchain.core.errors import FormatError, UnreachableError
from fedchain.ports.signer import Signer

_BLOCKS_A_QUERY: Final = 10_000
_READINGS: Final = 5


@dataclass(frozen=True, slots=True)
class Log:
    """A log as a node reports it; `at` is the block's time in seconds."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    at: int
    transaction: bytes


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A transaction that succeeded: its hash and its logs."""

    transaction: bytes
    logs: Sequence[Log]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read: nothing before `first_block`, nothing that fewer than `confirmations` blocks hold."""

    first_block: int = 0
    confirmations: int = 1
    blocks_a_query: int = _BLOCKS_A_QUERY


class Node:
    """One node behind web3.py, whatever its provider. Threads may share it."""

    def __init__(self, web3: Web3, reading: Reading | None = None, sender: Sender | None = None) -> None:
        web3.provider.global_ccip_read_enabled = False  # a contract must not make us call its URLs (EIP-3668)
        self._web3 = web3
        self._reading = reading or Reading()
        self._sender = sender or Sender(web3, Rules())
        self._times: dict[bytes, int] = {}

    def chain_id(self) -> int:
        """Return the chain id that the node serves."""
        with translated():
            return int(self._web3.eth.chain_id)

    def time(self) -> int:
        """Return the second of the newest block: a transaction is tried at it before it is sent."""
        with translated():
            return int(self._web3.eth.get_block("latest")["timestamp"])

    def code(self, address: bytes) -> bytes:
        """Return the code at an address."""
        with translated():
            return bytes(self._web3.eth.get_code(checksummed(address), self._confirmed()))

    def nonce(self, address: bytes) -> int:
        """Return how many transactions an address has sent, waiting ones included."""
        with translated():
            return int(self._web3.eth.get_transaction_count(checksummed(address), "pending"))

    def balance(self, address: bytes) -> int:
        """Return the coins of an address, in wei."""
        with translated():
            return int(self._web3.eth.get_balance(checksummed(address), self._confirmed()))

    def price(self) -> int:
        """Return what a transaction offers at most per gas if it is sent now, in wei."""
        return self._sender.price()

    def genesis(self) -> bytes:
        """Return the hash of the first block, by which chains with one id are told apart."""
        with translated():
            return self._hash_at(0)

    def data(self, transaction: bytes) -> bytes:
        """Return what a transaction of the chain called its contract with."""
        with translated():
            return bytes(self._web3.eth.get_transaction(prefixed(transaction))["input"])

    def settle(self, signers: Sequence[Signer]) -> None:
        """Return when all that these keys have sent from here stands in the chain, one key after the other.

        Raises:
            UnreachableError: if the node does not answer, or does not confirm in time.
        """
        for signer in signers:
            self._sender.settle(signer)

    def call(self, to: bytes, contract: Contract, function: str, *arguments: object) -> tuple[Any, ...]:
        """Return what a view function returns now.

        Raises:
            RejectedTransactionError: if it reverts.
            FormatError: if there is another contract, or none.
        """
        request: TxParams = {"to": checksummed(to), "data": prefixed(contract.call(function, *arguments))}
        with translated(contract):
            output = self._web3.eth.call(request, self._confirmed())
        return contract.result(function, bytes(output))

    def logs(self, addresses: Sequence[bytes], topics: Sequence[Sequence[bytes]] = ()) -> list[Log]:
        """Return all logs of the contracts that match, in chain order; an empty alternative matches everything.

        Raises:
            UnreachableError: if the node refuses even single blocks, or its chain keeps changing while it is read.
        """
        wanted = [[prefixed(topic) for topic in alternatives] or None for alternatives in topics]
        query: dict[str, Any] = {"address": [checksummed(address) for address in addresses], "topics": wanted}
        for _ in range(_READINGS):
            with translated():
                last = max(0, int(self._web3.eth.block_number) - self._reading.confirmations + 1)
                is_one_page = last - self._reading.first_block < self._reading.blocks_a_query
                before = b"" if is_one_page else self._hash_at(last)
                found = self._pages(query, last)
                if is_one_page or self._hash_at(last) == before:
                    return [self._log(each) for each in found]
        raise UnreachableError("chain changes while it is read", got=f"{_READINGS} different heads", remedy="try later")

    def send(self, signer: Signer, contract: Contract, data: bytes, to: bytes | None, value: int = 0) -> Confirmation:
        """Sign, send and confirm a transaction that pays `value` wei; a creation where `to` is None.

        Raises:
            RejectedTransactionError: if the contract refuses it, with its error, or the node does.
            UnreachableError: if the node does not answer, or does not confirm in time.
        """
        receipt = self._sender.send(signer, contract, Request(to, data, value))
        with translated(contract):
            return Confirmation(bytes(receipt["transactionHash"]), [self._log(log) for log in receipt["logs"]])

    def storage_proof(self, contract: bytes, slot: bytes) -> StorageProof:
        """Return the proof of a slot after the last confirmed block, for `verify_storage_proof`.

        Raises:
            UnreachableError: if the node does not answer, or gives no proofs.
            FormatError: if the answer has not the documented form.
        """
        with translated():
            number = hex(max(0, int(self._web3.eth.block_number) - self._reading.confirmations + 1))
            block = self._plain("eth_getBlockByNumber", number, False)
            proof = self._plain("eth_getProof", prefixed(contract), [prefixed(slot)], number)
            (storage,) = proof["storageProof"]
            nodes = [
                tuple(bytes.fromhex(node.removeprefix("0x")) for node in each)
                for each in (proof["accountProof"], storage["proof"])
            ]
        return StorageProof(header_fields(block), *nodes)

    def _plain(self, method: str, *params: object) -> Any:  # noqa: ANN401  # JSON
        answer = self._web3.provider.make_request(RPCEndpoint(method), params)
        if "result" not in answer or answer["result"] is None:
            raise UnreachableError(f"ledger node gave no {method}", got=str(answer.get("error"))[:200])
        return answer["result"]

    def _confirmed(self) -> Any:  # noqa: ANN401  # web3's block identifiers
        if self._reading.confirmations == 1:
            return "latest"
        return max(0, int(self._web3.eth.block_number) - self._reading.confirmations + 1)

    def _hash_at(self, number: int) -> bytes:
        return bytes(self._web3.eth.get_block(number)["hash"])

    def _pages(self, query: dict[str, Any], last: int) -> list[Any]:
        """Return the logs of all pages; a page that the node finds too large is halved, the next one grows again."""
        found: list[Any] = []
        first, size = self._reading.first_block, self._reading.blocks_a_query
        while first <= last:
            end = min(first + size - 1, last)
            page = query | {"fromBlock": first, "toBlock": end}
            try:
                logs = self._web3.eth.get_logs(cast("FilterParams", page))
            except Web3RPCError:
                if end == first:
                    raise
                size = (end - first + 1) // 2
                continue
            found += _ordered(logs, first, end)
            first, size = end + 1, min(size * 2, self._reading.blocks_a_query)
        return found

    def _log(self, log: Any) -> Log:  # noqa: ANN401  # a node may report anything
        stamp = log.get("blockTimestamp")
        return Log(
            address=bytes.fromhex(log["address"].removeprefix("0x")),
            topics=tuple(bytes(topic) for topic in log["topics"]),
            data=bytes(log["data"]),
            at=self._time(bytes(log["blockHash"])) if stamp is None else int(stamp, 16),
            transaction=bytes(log["transactionHash"]),
        )

    def _time(self, block_hash: bytes) -> int:
        if block_hash not in self._times:
            self._times[block_hash] = int(self._web3.eth.get_block(prefixed(block_hash))["timestamp"])
        return self._times[block_hash]


def _ordered(logs: Sequence[Any], first: int, last: int) -> list[Any]:
    """Return logs in chain order, after checking that each stands in the range, once, in a block of the chain."""
    ordered = sorted(logs, key=_position)
    positions = [_position(log) for log in ordered]
    if len(set(positions)) < len(positions) or any(not first <= block <= last for block, _ in positions):
        raise FormatError("logs of the ledger node", expected=f"each once, of blocks {first} to {last}", got="others")
    if any(log.get("removed") for log in ordered):
        raise FormatError("logs of the ledger node", expected="logs of the chain", got="removed ones")
    return ordered


def _position(log: Any) -> tuple[int, int]:  # noqa: ANN401  # a node may report anything
    return int(log["blockNumber"]), int(log["logIndex"])
