"""Whether keys can pay for what they are about to send, told before the first of it is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from fedchain.adapters.evm.node import Node
from fedchain.core.errors import InputError
from fedchain.core.signatures import checksum_address

_WEI: Final = Decimal(10**18)


@dataclass(frozen=True, slots=True)
class Payer:
    """A key that sends: what it is called, its address, and the gas that it needs to begin with."""

    role: str
    address: bytes
    gas: int


def check_funds(node: Node, payers: Sequence[Payer]) -> None:
    """Check that each can pay for its gas at the present price; where gas is free nobody needs anything.

    Raises:
        InputError: if some cannot; it says who needs how much.
        UnreachableError: if the node does not answer.
    """
    price = node.price()
    balances = {payer: node.balance(payer.address) for payer in payers}
    poor = [payer for payer, balance in balances.items() if balance < payer.gas * price]
    if poor:
        raise InputError(
            "addresses without money for gas",
            expected="; ".join(f"{_shown(p.gas * price)} at {checksum_address(p.address)} ({p.role})" for p in poor),
            got=", ".join(_shown(balances[payer]) for payer in poor),
            remedy="send coins there, then repeat the command",
        )


def _shown(wei: int) -> str:
    return f"{(Decimal(wei) / _WEI).normalize():f} coins"
