"""Giving and taking roles of the contracts: what is so already is not sent, what would lock everyone out is refused.

Nothing is journaled here: each act first reads who holds what, and the ledger sends one transaction once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fedchain.core.digest import hex32
from fedchain.core.errors import InputError, PolicyError
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.roles import Role, Roles

MAX_PAUSE_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Grant:
    """A role is about to be given; `before` held it and loses it. `accepts`: the sender takes what it was offered."""

    ledger: LedgerIdentity
    sender: bytes
    role: Role
    address: bytes
    before: bytes | None
    accepts: bool


@dataclass(frozen=True, slots=True)
class Revoke:
    """A role, or the offer of one, is about to be taken away."""

    ledger: LedgerIdentity
    sender: bytes
    role: Role
    address: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Sealing is about to be paused until a second since 1970; it cannot be paused again before another one."""

    ledger: LedgerIdentity
    sender: bytes
    until: int
    again_from: int


Order: TypeAlias = Grant | Revoke | Pause
Announce: TypeAlias = Callable[[Order], None]
"""Tells what is about to be signed; it raises where the user does not want it."""


@dataclass(frozen=True, slots=True)
class Done:
    """An order with the transaction that carried it out."""

    order: Order
    transaction: bytes


def grant(roles: Roles, role: Role, address: bytes, announce: Announce) -> Done | None:
    """Give a role; None if the address holds it, or was offered it and has to take it itself.

    Raises:
        InputError: if the address is zero.
        RejectedTransactionError: if the sender may not.
    """
    if not any(address):
        raise InputError("ADDRESS", expected="somebody's", got=hex32(address))
    holders, sender = roles.holders(role), roles.sender()
    is_offered = role is Role.ROUNDS_ADMIN and roles.successor() == address
    if address in holders or (is_offered and address != sender):
        return None
    is_shared = role in (Role.OPERATOR, Role.REGISTRY_ADMIN)
    before = None if is_shared or not holders else holders[0]
    order = Grant(roles.identity(), sender, role, address, before, is_offered)
    announce(order)
    return Done(order, roles.grant(role, address))


def revoke(roles: Roles, role: Role, address: bytes, announce: Announce) -> Done | None:
    """Take a role away; None if the address does not hold it.

    Raises:
        PolicyError: if nobody could give the role again, or the sender holds what would come back to it.
        RejectedTransactionError: if the sender may not.
    """
    holders, sender = roles.holders(role), roles.sender()
    if role is Role.ROUNDS_ADMIN and address in holders:
        raise PolicyError("the rounds always have an administrator", got=hex32(address), remedy="grant it to another")
    if role is Role.REGISTRY_ADMIN and list(holders) == [address]:
        raise PolicyError("the last administrator of the registry", got=hex32(address), remedy="grant it to another")
    if role is Role.AGGREGATOR and address == sender and address in holders:
        raise PolicyError("somebody has to be the aggregator", got=hex32(address), remedy="grant it to another")
    offered = roles.successor() if role is Role.ROUNDS_ADMIN else None
    if address not in holders and address != offered:
        return None
    order = Revoke(roles.identity(), sender, role, address)
    announce(order)
    return Done(order, roles.revoke(role, address))


def pause(roles: Roles, seconds: int, clock: Clock, announce: Announce) -> Done:
    """Have nothing sealed for so many seconds, as the ledger counts them; this machine's time is that of an idle one.

    Raises:
        InputError: if that is no time, or more than seven days.
        PolicyError: if it was paused before, and not long enough ago.
        RejectedTransactionError: if the sender is not the guardian.
    """
    if not 0 < seconds <= MAX_PAUSE_S:
        raise InputError("a pause", expected=f"1 to {MAX_PAUSE_S} seconds", got=seconds)
    again, now = roles.pausable_from(), max(roles.time(), clock.now())
    if now < again:
        raise PolicyError(
            "sealing was paused before", expected="as long a time without a pause", got=f"{again - now} s less",
            remedy="repeat the command then",
        )  # fmt: skip
    order = Pause(roles.identity(), roles.sender(), now + seconds, now + 2 * seconds)
    announce(order)
    return Done(order, roles.pause(order.until))
