"""What a sender asks a node: about its transactions, their blocks and the market, each answer or one of our errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from web3 import Web3
from web3.exceptions import BlockNotFound, TransactionNotFound
from web3.types import TxParams

from fedchain.adapters.evm.abi import Contract
from fedchain.adapters.evm.answers import checksummed, prefixed, translated
from fedchain.adapters.evm.intents import Attempt, Place
from fedchain.core.errors import RejectedTransactionError


class ChainView:
    """A chain as it looks from one node at this moment."""

    def __init__(self, web3: Web3) -> None:
        self._eth = web3.eth

    def chain_id(self) -> int:
        """Return the chain id that the node serves."""
        with translated():
            return int(self._eth.chain_id)

    def gas(self, contract: Contract, parameters: TxParams) -> int:
        """Return the gas that a transaction needs in the next block.

        Nodes estimate on the newest block, by its time. That of an idle chain is old, so what is refused there is tried
        on the next one, too: a window may have ended between them.

        Raises:
            RejectedTransactionError: if it would fail.
        """
        try:
            with translated(contract, sending=True):
                return int(self._eth.estimate_gas(parameters))
        except RejectedTransactionError as refused:
            try:
                with translated(contract, sending=True):
                    return int(self._eth.estimate_gas(parameters, "pending"))
            except RejectedTransactionError:
                raise refused from None

    def call(self, contract: Contract, parameters: TxParams, block: int) -> None:
        """Try a transaction on the state after a block.

        Raises:
            RejectedTransactionError: if it fails there.
        """
        with translated(contract, sending=True):
            self._eth.call(parameters, block)

    def receipt(self, attempts: Sequence[Attempt]) -> Any:  # noqa: ANN401  # web3's receipt
        """Return the receipt of whichever attempt is in the chain, or None."""
        with translated():
            for attempt in reversed(attempts):
                try:
                    return self._eth.get_transaction_receipt(prefixed(attempt.hash))
                except TransactionNotFound:
                    continue
        return None

    def is_known(self, attempt: Attempt) -> bool:
        """Return whether the node has it, in its pool or in the chain."""
        with translated():
            try:
                self._eth.get_transaction(prefixed(attempt.hash))
            except TransactionNotFound:
                return False
            return True

    def is_canonical(self, place: Place) -> bool:
        """Return whether this block is still in the chain."""
        with translated():
            try:
                return bytes(self._eth.get_block(place.block)["hash"]) == place.block_hash
            except BlockNotFound:
                return False

    def is_deep(self, place: Place, blocks: int) -> bool:
        """Return whether so many blocks hold what stands there, its own included."""
        if blocks == 1:
            return True
        with translated():
            head = int(self._eth.block_number)
        return head - place.block + 1 >= blocks and self.is_canonical(place)

    def count(self, address: bytes, tag: Literal["latest", "pending"]) -> int:
        """Return how many transactions an address has sent."""
        with translated():
            return int(self._eth.get_transaction_count(checksummed(address), tag))

    def market(self) -> tuple[int, int]:
        """Return the base fee of the last block and the tip that the node suggests, in wei per gas."""
        with translated():
            return int(self._eth.get_block("latest").get("baseFeePerGas", 0)), int(self._eth.max_priority_fee)

    def broadcast(self, attempt: Attempt) -> None:
        """Hand a signed transaction to the node.

        Raises:
            RejectedTransactionError: if it does not take it, or has it already.
        """
        with translated(sending=True):
            self._eth.send_raw_transaction(prefixed(attempt.raw))
