"""Putting coins and tokens into a vault and paying them out, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.adapters.evm.vault import EvmRewardVault, deploy_vault
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.rewards import Balance, reward_tree
from fedchain.ports.rewards import AssetKind, RewardVault, VaultIdentity, VaultTerms
from tests.doubles.anvil import anvil
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, CHAIN_ID, FEDERATION, OPERATOR, RELAYER, STRANGER, deployed
from tests.doubles.signer import NamedSigner
from tests.doubles.token import balance, deploy_token
from tests.doubles.vault import MemoryRewardVault, MemoryVault

WINDOW, MINTED = 60, 1000
TERMS = VaultTerms(FEDERATION, AGGREGATOR.address, OPERATOR.address, bytes(20), AssetKind.NATIVE, WINDOW)
PAYEE = b"\x77" * 20


@dataclass(frozen=True, slots=True)
class World:
    """A vault as anybody sees it; the operator holds coins, or tokens; `held` tells what an address holds of them."""

    clock: ManualClock
    by: Callable[[NamedSigner], RewardVault]
    held: Callable[[bytes], int]


@pytest.fixture(params=[AssetKind.NATIVE, AssetKind.ERC20], ids=lambda kind: kind.name.lower())
def kind(request: pytest.FixtureRequest) -> AssetKind:
    return AssetKind(request.param)


@pytest.fixture(params=["memory", "embedded", pytest.param("anvil", marks=pytest.mark.slow)])
def world(request: pytest.FixtureRequest, kind: AssetKind, tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    if request.param == "memory":
        asset = bytes(20) if kind is AssetKind.NATIVE else b"\x04" * 20
        terms = replace(TERMS, asset_kind=kind, asset=asset)
        vault = MemoryVault(VaultIdentity(CHAIN_ID, b"\x03" * 20, terms), clock)
        vault.purses[OPERATOR.address] = MINTED
        yield World(clock, lambda who: MemoryRewardVault(vault, who.address), lambda who: vault.claimed.get(who, 0))
    elif request.param == "embedded":
        with deployed(tmp_path / "chain.sqlite", clock) as contracts:
            yield _evm(clock, contracts.node, kind)
    else:
        with on_another_node(tmp_path, clock) as node:
            yield _evm(clock, node, kind)


@contextmanager
def on_another_node(folder: Path, clock: ManualClock) -> Iterator[Node]:
    with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), folder / "i") as node:
        chain.follow(clock)
        yield node


def _evm(clock: ManualClock, node: Node, kind: AssetKind) -> World:
    is_token = kind is AssetKind.ERC20
    asset = deploy_token(node, STRANGER, (OPERATOR.address, MINTED)) if is_token else bytes(20)
    identity = deploy_vault(node, OPERATOR, replace(TERMS, asset_kind=kind, asset=asset))

    def held(who: bytes) -> int:
        return balance(node, asset, who) if is_token else node.balance(who)

    return World(clock, lambda who: EvmRewardVault(node, identity, who), held)


def fund(vault: RewardVault, amount: int) -> None:
    if vault.identity().terms.asset_kind is AssetKind.ERC20:
        vault.allow(amount)
    vault.fund(amount)


def test_what_was_put_in_is_paid_out(world: World) -> None:
    vault = world.by(OPERATOR)
    assert (vault.funded(), vault.purse() >= MINTED) == (0, True)
    fund(vault, 30)
    fund(vault, 12)
    assert (vault.funded(), vault.allowed()) == (42, 0)
    identity = vault.identity()
    tree = reward_tree(identity.chain_id, identity.contract, [Balance(PAYEE, 42)])
    world.by(AGGREGATOR).propose(tree.root, 42, b"\x31" * 32)
    world.clock.forward(WINDOW + 10)
    vault.finalize()
    world.by(RELAYER).claim(PAYEE, 42, ())
    assert (vault.claimed(PAYEE), world.held(PAYEE)) == (42, 42)


def test_more_than_was_put_in_cannot_be_promised(world: World) -> None:
    fund(world.by(OPERATOR), 41)
    with pytest.raises(RejectedTransactionError):
        world.by(AGGREGATOR).propose(b"\x07" * 32, 42, b"\x31" * 32)


def test_nobody_puts_in_what_it_does_not_hold(world: World) -> None:
    vault = world.by(OPERATOR)
    with pytest.raises(RejectedTransactionError):
        fund(vault, vault.purse() + 1)
    assert vault.funded() == 0


@pytest.mark.parametrize("kind", [AssetKind.ERC20], ids=["erc20"], indirect=True)
def test_tokens_are_taken_as_far_as_they_are_allowed(world: World) -> None:
    vault = world.by(OPERATOR)
    assert (vault.purse(), vault.allowed()) == (MINTED, 0)
    with pytest.raises(RejectedTransactionError):
        vault.fund(5)
    vault.allow(4)
    with pytest.raises(RejectedTransactionError):
        vault.fund(5)
    vault.allow(0)
    vault.allow(5)
    assert vault.allowed() == 5
    vault.fund(5)
    assert (vault.purse(), vault.allowed(), vault.funded()) == (MINTED - 5, 0, 5)
    assert world.by(STRANGER).purse() == 0
