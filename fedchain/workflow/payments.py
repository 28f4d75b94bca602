"""The transactions of a payment, as they are told before they are sent and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fedchain.core.rewards import RewardReport
from fedchain.ports.rewards import Proposal, VaultIdentity


@dataclass(frozen=True, slots=True)
class Propose:
    """A root for all that was earned so far is about to be put up."""

    vault: VaultIdentity
    root: bytes
    report: RewardReport


@dataclass(frozen=True, slots=True)
class Finalize:
    """A pending root is about to become the one that pays."""

    vault: VaultIdentity
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Dispute:
    """A pending root is about to be cancelled: it is not what the record gives."""

    vault: VaultIdentity
    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Claim:
    """An account is about to be paid an amount, up to a cumulative one."""

    vault: VaultIdentity
    account: bytes
    amount: int
    cumulative: int


@dataclass(frozen=True, slots=True)
class Allow:
    """The vault is about to be allowed to take an amount of the sender's tokens, and no more."""

    vault: VaultIdentity
    amount: int


@dataclass(frozen=True, slots=True)
class Fund:
    """An amount is about to be put into the vault, which makes `total` in all."""

    vault: VaultIdentity
    amount: int
    total: int


Order: TypeAlias = Allow | Fund | Propose | Finalize | Dispute | Claim
Announce: TypeAlias = Callable[[Order], None]
"""Is told of each transaction before it is sent."""


@dataclass(frozen=True, slots=True)
class Done:
    """One transaction that an act sent; `transaction` is empty where somebody else's did it meanwhile."""

    order: Order
    transaction: bytes
