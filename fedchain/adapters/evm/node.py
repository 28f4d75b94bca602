"""A JSON-RPC node as the ledger needs it: calls, logs, and transactions signed here and confirmed there.

Every failure becomes one of our errors. Transactions are of type 2 (EIP-1559); the digest is signed through the Signer
port, so that the key may live in an HSM. A transaction is first tried with eth_estimateGas: what the contract would
refuse is refused before it costs anything.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

from eth_hash.auto import keccak
from rlp import encode
from web3 import Web3
from web3.exceptions import ContractLogicError, RequestTimedOut, TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import FilterParams, TxParams

from fedchain.adapters.evm.abi import Contract
from fedchain.core.errors import FormatError, RejectedTransactionError, UnreachableError
from fedchain.core.signatures import checksum_address
from fedchain.ports.signer import Signer

_BLOCKS_A_QUERY: Final = 10_000
_TYPE_2: Final = b"\x02"


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


class Node:
    """One node behind web3.py, whatever its provider. Threads may share it."""

    def __init__(self, web3: Web3, *, timeout_s: float = 120.0) -> None:
        web3.provider.global_ccip_read_enabled = False  # a contract must not make us call its URLs (EIP-3668)
        self._web3 = web3
        self._timeout_s = timeout_s
        self._sending = threading.Lock()
        self._times: dict[bytes, int] = {}

    def chain_id(self) -> int:
        """Return the chain id that the node serves."""
        with _translated():
            return int(self._web3.eth.chain_id)

    def code(self, address: bytes) -> bytes:
        """Return the code at an address."""
        with _translated():
            return bytes(self._web3.eth.get_code(_checksum(address)))

    def nonce(self, address: bytes) -> int:
        """Return how many transactions an address has sent, waiting ones included."""
        with _translated():
            return int(self._web3.eth.get_transaction_count(_checksum(address), "pending"))

    def call(self, to: bytes, contract: Contract, function: str, *arguments: object) -> tuple[Any, ...]:
        """Return what a view function returns now.

        Raises:
            RejectedTransactionError: if it reverts.
            FormatError: if there is another contract, or none.
        """
        request: TxParams = {"to": _checksum(to), "data": _hex(contract.call(function, *arguments))}
        with _translated(contract):
            output = self._web3.eth.call(request)
        return contract.result(function, bytes(output))

    def logs(self, addresses: Sequence[bytes], topics: Sequence[Sequence[bytes]] = ()) -> list[Log]:
        """Return all logs of the contracts that match, in chain order; an empty alternative matches everything."""
        wanted = [[_hex(topic) for topic in alternatives] or None for alternatives in topics]
        found: list[Log] = []
        with _translated():
            last = int(self._web3.eth.block_number)
            for first in range(0, last + 1, _BLOCKS_A_QUERY):
                query: dict[str, Any] = {
                    "address": [_checksum(address) for address in addresses],
                    "topics": wanted,
                    "fromBlock": first,
                    "toBlock": min(first + _BLOCKS_A_QUERY - 1, last),
                }
                found += [self._log(each) for each in self._web3.eth.get_logs(cast("FilterParams", query))]
        return found

    def send(self, signer: Signer, contract: Contract, data: bytes, to: bytes | None) -> Confirmation:
        """Sign, send and confirm a transaction; a creation where `to` is None.

        Raises:
            RejectedTransactionError: if the contract refuses it, with its error, or the node does.
            UnreachableError: if the node does not answer, or does not confirm in time.
        """
        request: TxParams = {"from": _checksum(signer.address), "data": _hex(data)}
        if to is not None:
            request["to"] = _checksum(to)
        # Nonces are taken one after the other: eight threads without this lost 30 of 40 transactions.
        with self._sending, _translated(contract, sending=True):
            gas = int(self._web3.eth.estimate_gas(request))
            raw = self._signed(signer, [gas, to or b"", 0, data, []])
            transaction_hash = self._web3.eth.send_raw_transaction(raw)
            receipt = self._web3.eth.wait_for_transaction_receipt(
                transaction_hash, timeout=self._timeout_s, poll_latency=0.05
            )
            if receipt["status"] != 1:
                # Another transaction came between; the same call now says why.
                self._web3.eth.call(request, receipt["blockNumber"])
                raise RejectedTransactionError("transaction failed", got=_hex(bytes(transaction_hash)))
            return Confirmation(bytes(transaction_hash), [self._log(log) for log in receipt["logs"]])

    def _signed(self, signer: Signer, rest: list[object]) -> bytes:
        eth = self._web3.eth
        tip = int(eth.max_priority_fee)
        price = 2 * int(eth.get_block("latest").get("baseFeePerGas", 0)) + tip
        nonce = int(eth.get_transaction_count(_checksum(signer.address), "pending"))
        fields = [int(eth.chain_id), nonce, tip, price, *rest]
        signature = signer.sign(keccak(_TYPE_2 + encode(fields)))
        r, s, v = signature[:32], signature[32:64], signature[64]
        return _TYPE_2 + bytes(encode([*fields, v - 27, int.from_bytes(r), int.from_bytes(s)]))

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
            self._times[block_hash] = int(self._web3.eth.get_block(_hex(block_hash))["timestamp"])
        return self._times[block_hash]


@contextmanager
def _translated(contract: Contract | None = None, *, sending: bool = False) -> Iterator[None]:
    try:
        yield
    except ContractLogicError as error:
        data = error.data if isinstance(error.data, str) else ""
        reason = contract.describe(_parsed(data)) if contract is not None else str(error.message)
        raise RejectedTransactionError(f"contract refused: {reason}") from error
    except Web3RPCError as error:
        if sending and not isinstance(error, RequestTimedOut | TransactionNotFound):
            raise RejectedTransactionError("ledger node refused the transaction", got=_line(error)) from error
        raise UnreachableError("ledger node gave no answer", got=_line(error)) from error
    except (Web3Exception, OSError) as error:
        raise UnreachableError(
            "ledger node does not answer", got=_line(error), remedy="check its address and that it runs"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # What web3's formatters raise over an answer that has not the form of the method's result.
        raise FormatError("answer of the ledger node", got=repr(error)[:200]) from error


def _parsed(data: str) -> bytes:
    try:
        return bytes.fromhex(data.removeprefix("0x"))
    except ValueError:
        return b""


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _checksum(address: bytes) -> Any:  # noqa: ANN401  # web3's address types are distinct strings
    return checksum_address(address)


def _hex(data: bytes) -> Any:  # noqa: ANN401  # web3's hex types are distinct strings
    return "0x" + data.hex()
