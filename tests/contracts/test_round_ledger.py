"""RoundLedger: one chain of links a run, moved only by the aggregator, at a price that stays small."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.chain import Call, EmbeddedChain, RevertedError
from fedchain.adapters.evm.events import ROUNDS
from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.evm.node import Node
from fedchain.core.digest import ZERO
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.record import LinkKind, RoundLink
from fedchain.ports.ledger import LedgerIdentity
from tests.doubles.clock import ManualClock
from tests.doubles.evm import ADMIN, AGGREGATOR, FEDERATION, OPERATOR, STRANGER, deployed
from tests.doubles.signer import NamedSigner

GAS_GOAL = 45_000
FENCE = 1  # of the aggregator that the contract was deployed with
NOBODY = bytes(20)
RUN = b"\x77" * 32
LINK = RoundLink(
    RUN, 1, LinkKind.SEALED, b"\x11" * 32, b"\x12" * 32, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 10_000, 3
)


@dataclass(frozen=True, slots=True)
class World:
    chain: EmbeddedChain
    node: Node
    identity: LedgerIdentity
    ledger: EvmLedger

    def send(self, sender: NamedSigner, function: str, *arguments: object) -> None:
        self.node.send(sender, ROUNDS, ROUNDS.call(function, *arguments), self.identity.rounds_contract)

    def seal(self, link: RoundLink, previous_hash: bytes, kind: int | None = None) -> None:
        run, round_, own_kind, *rest = astuple(link)
        content = (run, round_, int(own_kind) if kind is None else kind, previous_hash, *rest)
        self.send(AGGREGATOR, "seal", content, FENCE)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
        yield World(contracts.chain, contracts.node, contracts.identity, ledger)


@pytest.mark.parametrize("kind", [0, 4, 255])
def test_a_link_of_no_kind_is_refused(world: World, kind: int) -> None:
    with pytest.raises(RejectedTransactionError, match=rf"WrongKind\(got {kind}\)"):
        world.seal(LINK, ZERO, kind)


def test_links_that_do_not_fit_are_refused_by_name(world: World) -> None:
    first = world.ledger.seal(LINK, ZERO)
    second = replace(LINK, round=2)
    unchanged = replace(second, accepted=0, model_digest=LINK.base_model)
    for link, previous, error in (
        (LINK, ZERO, "WrongHead"),
        (second, ZERO, "WrongHead"),
        (second, b"\x01" * 32, "WrongHead"),
        (replace(LINK, round=3), first.round_hash, "WrongHead"),
        (replace(LINK, round=2**64 - 1), first.round_hash, "WrongHead"),
        (replace(LINK, run=b"\x78" * 32), b"\x01" * 32, "WrongHead"),
        (replace(LINK, run=ZERO), ZERO, "ZeroValue"),
        (replace(LINK, round=0), ZERO, "ZeroValue"),
        (replace(second, kind=LinkKind.ABORTED), first.round_hash, "ModelChanged"),
        (replace(unchanged, kind=LinkKind.ABORTED, accepted=1), first.round_hash, "ModelChanged"),
        (replace(unchanged, kind=LinkKind.CLOSED, model_digest=ZERO), first.round_hash, "ModelChanged"),
    ):
        with pytest.raises(RejectedTransactionError, match=error):
            world.seal(link, previous)


def test_nothing_follows_a_closing_link_by_whatever_previous_hash(world: World) -> None:
    closing = replace(LINK, kind=LinkKind.CLOSED, accepted=0, model_digest=LINK.base_model)
    closed = world.ledger.seal(closing, ZERO)
    slot = world.ledger.head_slot(RUN)
    for previous in (closed.round_hash, slot, ZERO):
        for round_ in (1, 2, 3):
            with pytest.raises(RejectedTransactionError, match="WrongHead"):
                world.seal(replace(closing, round=round_), previous)
    assert world.ledger.head_slot(RUN) == slot


def test_only_the_aggregator_seals_and_only_the_admin_appoints_it(world: World) -> None:
    for sender in (STRANGER, AGGREGATOR, OPERATOR):
        with pytest.raises(RejectedTransactionError, match="OwnableUnauthorizedAccount"):
            world.send(sender, "setAggregator", STRANGER.address)
    world.send(ADMIN, "setAggregator", STRANGER.address)
    with pytest.raises(RejectedTransactionError, match="NotAggregator"):
        world.seal(LINK, ZERO)
    EvmLedger(world.node, world.identity, STRANGER).seal(LINK, ZERO)


def test_of_two_aggregators_with_one_key_the_last_that_took_over_seals(world: World) -> None:
    world.send(AGGREGATOR, "takeOver")
    with pytest.raises(RejectedTransactionError, match="has taken over: expected fence 1, got fence 2"):
        world.ledger.seal(LINK, ZERO)
    EvmLedger(world.node, world.identity, AGGREGATOR).seal(LINK, ZERO)


def test_the_admin_does_not_seal(world: World) -> None:
    with pytest.raises(RejectedTransactionError, match="NotAggregator"):
        EvmLedger(world.node, world.identity, ADMIN).seal(LINK, ZERO)


def test_a_ledger_needs_a_registry_of_its_own_federation(world: World) -> None:
    registry, everybody = world.identity.registry_contract, (ADMIN.address, AGGREGATOR.address, NOBODY, NOBODY)
    for arguments, error in (
        ((registry, b"\x01" * 32, *everybody), "ForeignFederation"),
        ((registry, ZERO, *everybody), "ZeroValue"),
        ((registry, FEDERATION, NOBODY, AGGREGATOR.address, NOBODY, NOBODY), "OwnableInvalidOwner"),
        ((registry, FEDERATION, ADMIN.address, NOBODY, NOBODY, NOBODY), "ZeroValue"),
        ((STRANGER.address, FEDERATION, *everybody), "no reason given"),
    ):
        with pytest.raises(RejectedTransactionError, match=error):
            world.node.send(STRANGER, ROUNDS, ROUNDS.creation(*arguments), None)


def test_neither_contract_takes_ether(world: World) -> None:
    for contract in (world.identity.rounds_contract, world.identity.registry_contract):
        with pytest.raises(RevertedError):
            world.chain.call(Call(STRANGER.address, contract, b"", value=1), None)


def test_a_seal_costs_no_more_than_the_goal(world: World) -> None:
    # Every digest of a worst case is 32 bytes without a zero, which is the dearest calldata.
    previous = world.ledger.seal(LINK, ZERO).round_hash
    for round_ in (2, 3, 4):
        seal = world.ledger.seal(replace(LINK, round=round_), previous)
        mined = world.chain.mined(seal.transaction)
        assert mined is not None
        assert mined.receipt.gas_used <= GAS_GOAL
        previous = seal.round_hash
