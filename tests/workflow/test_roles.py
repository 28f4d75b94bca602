"""Giving and taking roles: told before it is sent, sent once, and never so that nobody could give them again."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from fedchain.core.errors import InputError, PolicyError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.roles import Role
from fedchain.workflow.roles import MAX_PAUSE_S, Grant, Order, Pause, Revoke, grant, pause, revoke
from tests.doubles.clock import ManualClock
from tests.doubles.roles import MemoryAuthority, MemoryRoles

BOSS, A, B = (bytes([n]) * 20 for n in (1, 2, 3))


@dataclass(slots=True)
class World:
    """One sender who holds everything, and what was announced."""

    clock: ManualClock = field(default_factory=ManualClock)
    orders: list[Order] = field(default_factory=list[Order])
    authority: MemoryAuthority = field(init=False)

    def __post_init__(self) -> None:
        identity = LedgerIdentity(1, b"\x08" * 20, b"\x09" * 20, b"\xfe" * 32)
        self.authority = MemoryAuthority(identity, self.clock, {role: [BOSS] for role in Role})

    def roles(self, sender: bytes = BOSS) -> MemoryRoles:
        return MemoryRoles(self.authority, sender)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.REGISTRY_ADMIN, Role.AGGREGATOR, Role.GUARDIAN])
def test_a_role_is_given_once_and_told_with_who_loses_it(role: Role) -> None:
    world = World()
    done = grant(world.roles(), role, A, world.orders.append)
    before = None if role in (Role.OPERATOR, Role.REGISTRY_ADMIN) else BOSS
    assert done is not None
    assert world.orders == [done.order] == [Grant(world.authority.identity, BOSS, role, A, before, accepts=False)]
    assert grant(world.roles(), role, A, world.orders.append) is None
    assert (len(world.orders), world.authority.sent) == (1, [f"grant {role}"])


def test_nothing_is_sent_that_is_not_wanted() -> None:
    world = World()

    def refuse(_: Order) -> None:
        raise InputError("nothing was signed")

    with pytest.raises(InputError):
        grant(world.roles(), Role.GUARDIAN, A, refuse)
    with pytest.raises(InputError):
        revoke(world.roles(), Role.GUARDIAN, BOSS, refuse)
    with pytest.raises(InputError):
        pause(world.roles(), 60, world.clock, refuse)
    assert world.authority.sent == []


def test_an_offer_is_sent_once_and_taken_by_its_successor_alone() -> None:
    world = World()
    assert grant(world.roles(), Role.ROUNDS_ADMIN, A, world.orders.append)
    assert grant(world.roles(), Role.ROUNDS_ADMIN, A, world.orders.append) is None
    assert grant(world.roles(A), Role.ROUNDS_ADMIN, A, world.orders.append)
    assert world.authority.holders[Role.ROUNDS_ADMIN] == [A]
    assert [order.accepts for order in world.orders if isinstance(order, Grant)] == [False, True]


def test_a_role_is_taken_once_and_an_offer_too() -> None:
    world = World()
    grant(world.roles(), Role.OPERATOR, A, world.orders.append)
    grant(world.roles(), Role.ROUNDS_ADMIN, A, world.orders.append)
    for role in (Role.OPERATOR, Role.ROUNDS_ADMIN):
        done = revoke(world.roles(), role, A, world.orders.append)
        assert done is not None
        assert done.order == world.orders[-1] == Revoke(world.authority.identity, BOSS, role, A)
        assert revoke(world.roles(), role, A, world.orders.append) is None
    assert world.authority.holders[Role.OPERATOR] == [BOSS]
    assert world.authority.successor is None


@pytest.mark.parametrize("role", [Role.REGISTRY_ADMIN, Role.ROUNDS_ADMIN, Role.AGGREGATOR])
def test_what_would_lock_everyone_out_is_refused(role: Role) -> None:
    world = World()
    with pytest.raises(PolicyError):
        revoke(world.roles(), role, BOSS, world.orders.append)
    assert (world.orders, world.authority.sent) == ([], [])


def test_a_stolen_aggregators_key_is_put_out_of_work() -> None:
    world = World()
    world.authority.holders[Role.AGGREGATOR] = [A]
    assert revoke(world.roles(), Role.AGGREGATOR, A, world.orders.append)
    assert world.authority.holders[Role.AGGREGATOR] == [BOSS]


def test_nobody_is_no_address() -> None:
    world = World()
    with pytest.raises(InputError, match="ADDRESS"):
        grant(world.roles(), Role.OPERATOR, bytes(20), world.orders.append)


def test_a_pause_is_in_the_ledgers_time_where_that_is_ahead() -> None:
    world = World()
    world.authority.time = world.clock.now() + 500
    world.authority.clock = ManualClock(world.clock.now() + 500)
    pause(world.roles(), 60, world.clock, world.orders.append)
    now = world.clock.now() + 500
    assert world.orders == [Pause(world.authority.identity, BOSS, now + 60, now + 120)]
    assert world.authority.paused_until == now + 60
    with pytest.raises(PolicyError, match="paused before"):
        pause(world.roles(), 60, world.clock, world.orders.append)


@pytest.mark.parametrize("seconds", [0, MAX_PAUSE_S + 1])
def test_a_pause_that_is_none_or_too_long_is_refused(seconds: int) -> None:
    world = World()
    with pytest.raises(InputError, match="a pause"):
        pause(world.roles(), seconds, world.clock, world.orders.append)
    assert world.orders == []
