"""What every authority over a federation's roles does: in memory, on the embedded chain, on a node of others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import deploy
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.adapters.evm.roles import EvmRoles
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.roles import Role, Roles
from fedchain.workflow.roles import MAX_PAUSE_S
from tests.doubles.anvil import anvil
from tests.doubles.clock import ManualClock
from tests.doubles.evm import (
    ADMIN,
    AGGREGATOR,
    CHAIN_ID,
    DEPLOYER,
    FEDERATION,
    OPERATOR,
    RELAYER,
    STRANGER,
    TERMS,
    deployed,
)
from tests.doubles.roles import MemoryAuthority, MemoryRoles
from tests.doubles.signer import NamedSigner

A, B = RELAYER.address, STRANGER.address


@dataclass(frozen=True, slots=True)
class World:
    """The roles as anybody sees and changes them; the registry is the operator's, the rounds are the admin's."""

    clock: ManualClock
    by: Callable[[NamedSigner], Roles]


@pytest.fixture(params=["memory", "embedded", pytest.param("anvil", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    if request.param == "memory":
        operator, admin = [OPERATOR.address], [ADMIN.address]
        authority = MemoryAuthority(
            LedgerIdentity(CHAIN_ID, b"\x01" * 20, b"\x02" * 20, FEDERATION),
            clock,
            {
                Role.OPERATOR: operator,
                Role.REGISTRY_ADMIN: list(operator),
                Role.AGGREGATOR: [AGGREGATOR.address],
                Role.GUARDIAN: admin,
                Role.ROUNDS_ADMIN: list(admin),
            },
        )
        yield World(clock, lambda sender: MemoryRoles(authority, sender.address))
    elif request.param == "embedded":
        with deployed(tmp_path / "chain.sqlite", clock) as contracts:
            yield World(clock, lambda sender: EvmRoles(contracts.node, contracts.identity, sender))
    else:
        with on_another_node(tmp_path, clock) as node:
            identity = deploy(node, DEPLOYER, TERMS)
            yield World(clock, lambda sender: EvmRoles(node, identity, sender))


@contextmanager
def on_another_node(folder: Path, clock: ManualClock) -> Iterator[Node]:
    with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), folder / "i") as node:
        chain.follow(clock)
        yield node


def admin_of(role: Role) -> NamedSigner:
    return OPERATOR if role in (Role.OPERATOR, Role.REGISTRY_ADMIN) else ADMIN


def test_the_first_holders_are_those_of_the_deployment(world: World) -> None:
    roles = world.by(STRANGER)
    assert {role: list(roles.holders(role)) for role in Role} == {
        Role.OPERATOR: [OPERATOR.address],
        Role.REGISTRY_ADMIN: [OPERATOR.address],
        Role.AGGREGATOR: [AGGREGATOR.address],
        Role.GUARDIAN: [ADMIN.address],
        Role.ROUNDS_ADMIN: [ADMIN.address],
    }
    assert (roles.successor(), roles.pausable_from(), roles.sender()) == (None, 0, STRANGER.address)
    assert roles.identity().federation == FEDERATION


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.REGISTRY_ADMIN])
def test_several_may_hold_a_role_of_the_registry(world: World, role: Role) -> None:
    roles = world.by(OPERATOR)
    roles.grant(role, A)
    roles.grant(role, B)
    assert list(roles.holders(role)) == [OPERATOR.address, A, B]
    roles.revoke(role, A)
    assert list(roles.holders(role)) == [OPERATOR.address, B]


@pytest.mark.parametrize("role", [Role.AGGREGATOR, Role.GUARDIAN])
def test_another_holder_of_a_role_of_the_rounds_replaces_the_first(world: World, role: Role) -> None:
    world.by(ADMIN).grant(role, A)
    assert list(world.by(ADMIN).holders(role)) == [A]


def test_a_revoked_guardian_has_no_follower_and_a_revoked_aggregators_role_goes_to_who_took_it(world: World) -> None:
    roles = world.by(ADMIN)
    roles.revoke(Role.GUARDIAN, ADMIN.address)
    roles.revoke(Role.AGGREGATOR, AGGREGATOR.address)
    assert (list(roles.holders(Role.GUARDIAN)), list(roles.holders(Role.AGGREGATOR))) == ([], [ADMIN.address])
    with pytest.raises(RejectedTransactionError):
        roles.pause(world.clock.now() + 60)


def test_the_administration_of_the_rounds_is_offered_and_taken(world: World) -> None:
    world.by(ADMIN).grant(Role.ROUNDS_ADMIN, A)
    assert (world.by(ADMIN).successor(), list(world.by(ADMIN).holders(Role.ROUNDS_ADMIN))) == (A, [ADMIN.address])
    with pytest.raises(RejectedTransactionError):
        world.by(STRANGER).grant(Role.ROUNDS_ADMIN, B)
    world.by(RELAYER).grant(Role.ROUNDS_ADMIN, A)
    assert (world.by(ADMIN).successor(), list(world.by(ADMIN).holders(Role.ROUNDS_ADMIN))) == (None, [A])
    with pytest.raises(RejectedTransactionError):
        world.by(ADMIN).grant(Role.GUARDIAN, B)


def test_an_offer_can_be_taken_back(world: World) -> None:
    world.by(ADMIN).grant(Role.ROUNDS_ADMIN, A)
    world.by(ADMIN).revoke(Role.ROUNDS_ADMIN, A)
    assert world.by(ADMIN).successor() is None
    with pytest.raises(RejectedTransactionError):
        world.by(RELAYER).grant(Role.ROUNDS_ADMIN, A)


@pytest.mark.parametrize("role", Role)
def test_nobody_else_changes_a_role(world: World, role: Role) -> None:
    roles = world.by(STRANGER)
    before = list(roles.holders(role))
    with pytest.raises(RejectedTransactionError):
        roles.grant(role, B)
    with pytest.raises(RejectedTransactionError):
        roles.revoke(role, before[0])
    assert list(roles.holders(role)) == before


def test_the_guardian_pauses_for_seven_days_at_most_and_not_again_too_soon(world: World) -> None:
    roles, now = world.by(ADMIN), world.clock.now()
    for until in (now - 60, now + MAX_PAUSE_S + 600):
        with pytest.raises(RejectedTransactionError):
            roles.pause(until)
    with pytest.raises(RejectedTransactionError):
        world.by(OPERATOR).pause(now + 600)
    roles.pause(now + 600)
    assert abs(roles.pausable_from() - (now + 1200)) <= 20
    assert roles.time() >= now
    world.clock.forward(700)
    with pytest.raises(RejectedTransactionError):
        roles.pause(now + 800)
    world.clock.forward(600)
    roles.pause(world.clock.now() + 600)


def test_who_only_reads_changes_nothing(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        roles = EvmRoles(contracts.node, contracts.identity)
        with pytest.raises(InputError, match="no key"):
            roles.grant(Role.GUARDIAN, A)
