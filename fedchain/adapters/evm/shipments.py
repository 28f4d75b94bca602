"""What a sender is about to send, and what it last saw of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from web3.types import TxParams, Wei

from fedchain.adapters.evm.abi import Contract
from fedchain.adapters.evm.answers import checksummed, prefixed
from fedchain.adapters.evm.intents import Intent, Place
from fedchain.adapters.evm.transactions import Request
from fedchain.adapters.evm.waiting import Deadline
from fedchain.ports.signer import Signer


@dataclass(frozen=True, slots=True)
class Shipment:
    """One request on its way: whose, what, and until when."""

    signer: Signer
    contract: Contract
    request: Request
    account: bytes
    deadline: Deadline

    @property
    def chain_id(self) -> int:
        """Which chain it is for."""
        return int.from_bytes(self.account[:32])

    @property
    def call(self) -> bytes:
        """By what the same request is known again."""
        return self.request.digest()

    def parameters(self) -> TxParams:
        """Return it as it is tried before it is sent."""
        found: TxParams = {"from": checksummed(self.signer.address), "data": prefixed(self.request.data)}
        if self.request.value:
            found["value"] = Wei(self.request.value)
        if self.request.to is not None:
            found["to"] = checksummed(self.request.to)
        return found


class Watch:
    """What was last seen of an intent that is waited for."""

    def __init__(self, intent: Intent, now: float) -> None:
        self.intent = intent
        self.looked_at = self.attempted_at = now
        self.is_passed = False


def place_of(receipt: Any) -> Place:  # noqa: ANN401  # web3's receipt
    """Return the block in which a receipt says that its transaction stands."""
    return Place(int(receipt["blockNumber"]), bytes(receipt["blockHash"]))


def fell_out(intent: Intent) -> str:
    """Return what is said of a transaction that left the chain."""
    return f"transaction 0x{intent.attempts[-1].hash.hex()} fell out of the chain and is sent again"
