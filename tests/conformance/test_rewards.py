"""What every vault does, whatever it is made of: in memory, on the embedded chain, behind HTTP, on a node of others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import remote_node
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.adapters.evm.vault import EvmRewardVault, check_vault, deploy_vault
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.core.merkle import MerkleTree
from fedchain.core.rewards import Balance, reward_leaf, reward_tree
from fedchain.ports.rewards import AssetKind, RewardVault, VaultIdentity, VaultTerms
from tests.doubles.anvil import anvil
from tests.doubles.clock import ManualClock
from tests.doubles.evm import (
    AGGREGATOR,
    CHAIN_ID,
    FEDERATION,
    OPERATOR,
    RELAYER,
    SITE,
    STRANGER,
    deployed,
    served,
)
from tests.doubles.vault import MemoryRewardVault, MemoryVault

WINDOW = 3600
SLACK = 10
"""No two blocks have one time, so a chain may be some seconds ahead of the clock."""
TERMS = VaultTerms(FEDERATION, AGGREGATOR.address, OPERATOR.address, bytes(20), AssetKind.CREDITS, WINDOW)
A, B = SITE.address, STRANGER.address
REPORT, OTHER_REPORT = b"\x31" * 32, b"\x32" * 32


@dataclass(frozen=True, slots=True)
class World:
    """One vault, seen by its distributor, its guardian and a relayer."""

    clock: ManualClock
    distributor: RewardVault
    guardian: RewardVault
    relayer: RewardVault

    def tree(self, *earned: tuple[bytes, int]) -> MerkleTree:
        identity = self.relayer.identity()
        return reward_tree(identity.chain_id, identity.contract, [Balance(*each) for each in earned])

    def leaf(self, account: bytes, cumulative: int) -> bytes:
        identity = self.relayer.identity()
        return reward_leaf(identity.chain_id, identity.contract, Balance(account, cumulative))

    def make_final(self, *earned: tuple[bytes, int], total: int | None = None) -> MerkleTree:
        tree = self.tree(*earned)
        amount = sum(each for _, each in earned) if total is None else total
        self.distributor.propose(tree.root, amount, REPORT)
        self.clock.forward(WINDOW + SLACK)
        self.relayer.finalize()
        return tree

    def claim(self, tree: MerkleTree, account: bytes, cumulative: int) -> bytes:
        return self.relayer.claim(account, cumulative, tree.proof(self.leaf(account, cumulative)))


@pytest.fixture(
    params=["memory", "embedded", *(pytest.param(name, marks=pytest.mark.slow) for name in ("http", "anvil"))]
)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    if request.param == "memory":
        vault = MemoryVault(VaultIdentity(CHAIN_ID, b"\x03" * 20, TERMS), clock)
        yield World(clock, *(MemoryRewardVault(vault, each.address) for each in (AGGREGATOR, OPERATOR, RELAYER)))
        return
    if request.param == "anvil":
        with on_another_node(tmp_path, clock) as node:
            yield _evm(clock, node, deploy_vault(node, OPERATOR, TERMS))
        return
    with deployed(tmp_path / "chain.sqlite", clock) as contracts:
        identity = deploy_vault(contracts.node, OPERATOR, TERMS)
        if request.param == "embedded":
            yield _evm(clock, contracts.node, identity)
            return
        with served(contracts.chain) as url:
            yield _evm(clock, remote_node(url), identity)


@contextmanager
def on_another_node(folder: Path, clock: ManualClock) -> Iterator[Node]:
    with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), folder / "i") as node:
        chain.follow(clock)
        yield node


def _evm(clock: ManualClock, node: Node, identity: VaultIdentity) -> World:
    return World(clock, *(EvmRewardVault(node, identity, each) for each in (AGGREGATOR, OPERATOR, RELAYER)))


def test_a_new_vault_pays_nobody(world: World) -> None:
    vault = world.relayer
    assert (vault.root(), vault.total(), vault.funded(), vault.pending()) == (ZERO, 0, 0, None)
    assert list(vault.proposals()) == []
    assert vault.claimed(A) == 0
    assert vault.identity().terms == TERMS


def test_a_proposal_waits_with_its_report_and_its_time(world: World) -> None:
    tree = world.tree((A, 5), (B, 0))
    world.distributor.propose(tree.root, 5, REPORT)
    pending = world.relayer.pending()
    assert pending is not None
    assert (pending.root, pending.total, pending.report) == (tree.root, 5, REPORT)
    assert 0 <= pending.claimable_at - (world.clock.now() + WINDOW) <= SLACK
    assert world.relayer.proposals() == [pending]
    assert world.relayer.root() == ZERO


def test_the_time_is_that_of_the_ledger_by_which_windows_end(world: World) -> None:
    world.distributor.propose(world.tree((A, 5)).root, 5, REPORT)
    pending = world.relayer.pending()
    assert pending is not None
    assert world.relayer.time() == pending.claimable_at - WINDOW
    world.clock.forward(WINDOW + SLACK)
    assert world.relayer.time() < pending.claimable_at
    world.relayer.finalize()
    assert world.relayer.time() >= pending.claimable_at


def test_a_root_pays_after_its_window_and_each_account_its_own(world: World) -> None:
    tree = world.make_final((A, 5), (B, 7))
    assert (world.relayer.root(), world.relayer.total(), world.relayer.pending()) == (tree.root, 12, None)
    world.claim(tree, A, 5)
    assert (world.relayer.claimed(A), world.relayer.claimed(B)) == (5, 0)
    world.claim(tree, B, 7)
    assert (world.relayer.claimed(A), world.relayer.claimed(B)) == (5, 7)


def test_a_root_of_one_account_pays_with_an_empty_proof(world: World) -> None:
    tree = world.make_final((A, 5))
    world.relayer.claim(A, 5, ())
    assert tree.root == world.leaf(A, 5)
    assert world.relayer.claimed(A) == 5


def test_a_later_root_pays_the_difference(world: World) -> None:
    world.claim(world.make_final((A, 5), (B, 7)), A, 5)
    tree = world.make_final((A, 8), (B, 7))
    world.claim(tree, A, 8)
    world.claim(tree, B, 7)
    assert (world.relayer.claimed(A), world.relayer.claimed(B), world.relayer.total()) == (8, 7, 15)


def test_a_second_claim_pays_nothing(world: World) -> None:
    tree = world.make_final((A, 5), (B, 7))
    world.claim(tree, A, 5)
    with pytest.raises(RejectedTransactionError):
        world.claim(tree, A, 5)
    assert world.relayer.claimed(A) == 5


def test_a_claim_with_anothers_proof_pays_nothing(world: World) -> None:
    tree = world.make_final((A, 5), (B, 7))
    for account, cumulative, proved in ((A, 7, (B, 7)), (B, 5, (A, 5)), (A, 5, (B, 7)), (A, 6, (A, 5))):
        with pytest.raises(RejectedTransactionError):
            world.relayer.claim(account, cumulative, tree.proof(world.leaf(*proved)))
    assert (world.relayer.claimed(A), world.relayer.claimed(B)) == (0, 0)


def test_a_claim_against_a_root_that_is_not_final_pays_nothing(world: World) -> None:
    tree = world.tree((A, 5))
    world.distributor.propose(tree.root, 5, REPORT)
    world.clock.forward(WINDOW + SLACK)
    with pytest.raises(RejectedTransactionError):
        world.relayer.claim(A, 5, ())


def test_a_root_that_gives_more_than_its_total_pays_no_more_than_that(world: World) -> None:
    tree = world.make_final((A, 5), (B, 7), total=10)
    world.claim(tree, A, 5)
    with pytest.raises(RejectedTransactionError):
        world.claim(tree, B, 7)
    assert world.relayer.claimed(B) == 0


def test_only_the_distributor_proposes_and_only_one_root_at_a_time(world: World) -> None:
    for other in (world.guardian, world.relayer):
        with pytest.raises(RejectedTransactionError):
            other.propose(b"\x07" * 32, 5, REPORT)
    world.distributor.propose(b"\x07" * 32, 5, REPORT)
    for root in (b"\x07" * 32, b"\x08" * 32):
        with pytest.raises(RejectedTransactionError):
            world.distributor.propose(root, 5, REPORT)
    assert len(world.relayer.proposals()) == 1


def test_no_root_is_final_within_its_window(world: World) -> None:
    with pytest.raises(RejectedTransactionError):
        world.relayer.finalize()
    world.distributor.propose(b"\x07" * 32, 5, REPORT)
    world.clock.forward(WINDOW - 10)
    with pytest.raises(RejectedTransactionError):
        world.relayer.finalize()
    world.clock.forward(10 + SLACK)
    world.relayer.finalize()
    with pytest.raises(RejectedTransactionError):
        world.relayer.finalize()


def test_the_guardian_alone_disputes_and_only_within_the_window(world: World) -> None:
    world.distributor.propose(b"\x07" * 32, 5, REPORT)
    for other in (world.distributor, world.relayer):
        with pytest.raises(RejectedTransactionError):
            other.dispute(b"\x07" * 32)
    with pytest.raises(RejectedTransactionError):
        world.guardian.dispute(b"\x08" * 32)
    world.guardian.dispute(b"\x07" * 32)
    assert world.relayer.pending() is None
    world.distributor.propose(b"\x08" * 32, 5, OTHER_REPORT)
    world.clock.forward(WINDOW + SLACK)
    with pytest.raises(RejectedTransactionError):
        world.guardian.dispute(b"\x08" * 32)
    assert [each.report for each in world.relayer.proposals()] == [REPORT, OTHER_REPORT]


def test_what_was_earned_is_never_taken_back(world: World) -> None:
    world.make_final((A, 5), (B, 7))
    with pytest.raises(RejectedTransactionError):
        world.distributor.propose(b"\x07" * 32, 11, REPORT)


@pytest.mark.parametrize(("root", "total"), [(ZERO, 5), (b"\x07" * 32, 2**128)], ids=["no root", "huge"])
def test_no_root_and_amounts_that_fit_no_slot_are_refused(world: World, root: bytes, total: int) -> None:
    with pytest.raises(RejectedTransactionError):
        world.distributor.propose(root, total, REPORT)


# deploying


def test_a_vault_is_deployed_once_and_found_again(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        first = deploy_vault(contracts.node, OPERATOR, TERMS)
        sent = contracts.node.nonce(OPERATOR.address)
        assert deploy_vault(contracts.node, OPERATOR, TERMS) == first
        assert contracts.node.nonce(OPERATOR.address) == sent
        other = deploy_vault(contracts.node, OPERATOR, replace(TERMS, dispute_window_s=7))
        assert other.contract != first.contract
        check_vault(contracts.node, first)


def test_another_contract_or_none_is_not_taken_for_a_vault(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        vault = deploy_vault(contracts.node, OPERATOR, TERMS)
        registry = contracts.identity.registry_contract
        wrong = (
            replace(vault, contract=registry),
            replace(vault, contract=b"\x09" * 20),
            replace(vault, chain_id=1),
            replace(vault, terms=replace(TERMS, guardian=A)),
        )
        for each in wrong:
            with pytest.raises(InputError):
                check_vault(contracts.node, each)
        with pytest.raises(InputError, match="no key"):
            EvmRewardVault(contracts.node, vault).finalize()
