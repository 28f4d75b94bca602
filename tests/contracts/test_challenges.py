"""What Python hashes and signs, the contracts of challenges, privacy and rewards take byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.abi import Contract, contract
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.node import Node
from fedchain.core import document
from fedchain.core.digest import ZERO, tagged
from fedchain.core.eip712 import TypedMessage, members, signing_digest
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.merkle import MerkleTree, leaf_hash
from fedchain.core.messages import (
    ClientUpdate,
    ConsentGrant,
    InclusionPromise,
    KeyPossession,
    RegisterDataset,
    RegisterDevice,
    RoundReceipt,
)
from fedchain.core.privacy import SUBSAMPLED_GAUSSIAN, DpParams
from fedchain.core.record import LinkKind, RejectedLeaf, RoundLink, UpdateLeaf
from fedchain.core.rejection import Reason
from fedchain.core.task import UpdateHeader
from tests.doubles.clock import ManualClock
from tests.doubles.evm import (
    AGGREGATOR,
    CHAIN_ID,
    FEDERATION,
    OPERATOR,
    RELAYER,
    SITE,
    STRANGER,
    Deployed,
    deployed,
)
from tests.doubles.signer import NamedSigner

CHALLENGES, PRIVACY, VAULT = contract("Challenges"), contract("PrivacyLedger"), contract("RewardVault")
WINDOW = 10 * 24 * 3600
RUN, ORGANISATION, DATASET, POLICY = b"\x77" * 32, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
RAW = 0x55
GRANT = 8_000_000
DEVICE = NamedSigner("device of the site")
NOW = ManualClock().time
DEADLINE = NOW + 600
UNIT = "example/lifetime"
DP = DpParams(SUBSAMPLED_GAUSSIAN, 1_100_000, 10**6, 10, 40, 10**7, "example", "zero-out", "prv", "os.urandom", 900_000)
UPDATE = ClientUpdate(
    FEDERATION, RUN, 1, b"\x13" * 32, b"\x05" * 32, b"\x06" * 32, DATASET, POLICY, 303, GRANT + 1, DP.digest(),
    b"\x07" * 32, b"\x08" * 32, b"\x09" * 32, 1, DEADLINE,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    clock: ManualClock
    contracts: Deployed
    ledger: EvmLedger
    challenges: bytes
    privacy: bytes

    @property
    def node(self) -> Node:
        return self.contracts.node

    def send(self, on: Contract, at: bytes, function: str, *arguments: object) -> None:
        self.node.send(RELAYER, on, on.call(function, *arguments), at)

    def sign(self, signer: NamedSigner, message: TypedMessage) -> bytes:
        return signer.sign(signing_digest(self.contracts.identity.rounds, message))

    def sealed(self, accepted: MerkleTree, rejected: MerkleTree) -> list[object]:
        """Seal round 1 with these trees; return the preimage that the contracts take as its proof."""
        link = RoundLink(
            RUN, 1, LinkKind.SEALED, accepted.root, rejected.root, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32,
            len(accepted.nodes), len(rejected.nodes),
        )  # fmt: skip
        registry_head = self.ledger.registry_head()
        self.ledger.seal(link, ZERO)
        run, round_, kind, *rest = astuple(link)
        return [((run, round_, int(kind), ZERO, *rest), registry_head)]

    def header(self) -> UpdateHeader:
        signature = self.sign(DEVICE, UPDATE)
        return UpdateHeader(CHAIN_ID, self.contracts.identity.rounds_contract, UPDATE, signature, DP)

    def leaf(self) -> UpdateLeaf:
        digest = signing_digest(self.contracts.identity.rounds, UPDATE)
        return UpdateLeaf.of(DEVICE.address, digest, self.sign(DEVICE, UPDATE), RAW)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    with deployed(tmp_path / "chain.sqlite", clock) as contracts:
        node, identity = contracts.node, contracts.identity
        challenges, privacy = (contract_address(STRANGER.address, nonce) for nonce in (0, 1))
        node.send(STRANGER, CHALLENGES, CHALLENGES.creation(identity.rounds_contract, WINDOW), None)
        node.send(STRANGER, PRIVACY, PRIVACY.creation(challenges), None)
        EvmRegistry(node, identity, OPERATOR).add_organisation(ORGANISATION, SITE.address)
        site = EvmRegistry(node, identity, SITE)
        unit = tagged("privacy-unit", UNIT.encode())
        words = KeyPossession(ORGANISATION, DEVICE.address)
        possession = DEVICE.sign(signing_digest(identity.registry, words))
        site.submit(RegisterDevice(ORGANISATION, DEVICE.address, NOW, NOW + 10**6, 1, possession, 1), b"")
        site.submit(RegisterDataset(DATASET, ORGANISATION, 303, 2), b"")
        site.submit(ConsentGrant(DATASET, FEDERATION, POLICY, NOW, NOW + 10**6, GRANT, 10**7, unit, 303, 3), b"")
        ledger = EvmLedger(node, identity, AGGREGATOR)
        yield World(clock, contracts, ledger, challenges, privacy)


def fields(message: TypedMessage) -> tuple[object, ...]:
    return tuple(getattr(message, name) for _, name in members(message.TYPE))


def challenged(world: World, leaf: UpdateLeaf) -> tuple[object, ...]:
    promise = InclusionPromise(FEDERATION, RUN, 1, leaf.hash(), NOW + 5)
    world.clock.forward(100)
    signature = world.sign(AGGREGATOR, promise)
    world.send(CHALLENGES, world.challenges, "challengeOmission", fields(promise), AGGREGATOR.address, signature)
    return fields(promise)


def test_a_receipt_is_co_signed_by_its_relayer(world: World) -> None:
    leaf = world.leaf()
    world.sealed(MerkleTree.of([leaf.hash()]), MerkleTree.of([]))
    found = world.ledger.find(RUN, 1)
    assert found is not None
    receipt = RoundReceipt(FEDERATION, RUN, 1, found.round_hash)
    signature = world.sign(DEVICE, receipt)
    world.send(CHALLENGES, world.challenges, "cosign", fields(receipt), DEVICE.address, signature, [])


def test_an_omission_challenge_is_answered_by_the_trees_that_python_builds(world: World) -> None:
    leaf = world.leaf()
    tree = MerkleTree.of([leaf.hash(), b"\x21" * 32, b"\x22" * 32])
    records = world.sealed(tree, MerkleTree.of([]))
    promise = challenged(world, leaf)
    world.send(CHALLENGES, world.challenges, "answerIncluded", promise, records, list(tree.proof(leaf.hash())))


def test_an_omission_challenge_is_answered_by_a_rejected_reply_as_the_store_has_it(world: World) -> None:
    leaf, header = world.leaf(), document.to_bytes(world.header())
    reply = len(header).to_bytes(4, "big") + header + b"payload"
    evidence = hashlib.sha256(reply).digest()
    rejected = RejectedLeaf(int(Reason.NORM_ABOVE_BOUND), 1, DEVICE.address, 7, evidence)
    tree = MerkleTree.of([rejected.hash(), b"\x21" * 32])
    records = world.sealed(MerkleTree.of([]), tree)
    promise = challenged(world, leaf)
    at, proof = reply.index(b'"signature":"0x'), list(tree.proof(rejected.hash()))
    answer = (astuple(leaf), astuple(rejected), reply, at)
    with pytest.raises(RejectedTransactionError, match="OtherReply"):
        world.send(CHALLENGES, world.challenges, "answerRejected", promise, (*answer[:3], at + 1), records, proof)
    world.send(CHALLENGES, world.challenges, "answerRejected", promise, answer, records, proof)


def test_an_overspent_dataset_is_frozen_by_its_own_signed_update(world: World) -> None:
    leaf = world.leaf()
    tree = MerkleTree.of([leaf.hash(), b"\x21" * 32, b"\x22" * 32])
    records = world.sealed(tree, MerkleTree.of([]))
    dp = document.to_bytes(DP)
    evidence = (
        fields(UPDATE), DEVICE.address, world.sign(DEVICE, UPDATE), RAW, list(tree.proof(leaf.hash())), dp,
        dp.index(b'"delta_e12":'), dp.index(b'"unit":'),
    )  # fmt: skip
    world.send(PRIVACY, world.privacy, "challengeOverspend", evidence, UNIT, records)
    assert world.node.call(world.privacy, PRIVACY, "isFrozen", DATASET) == (True,)


def test_awards_in_a_tree_that_python_builds_are_claimed_once(world: World) -> None:
    vault = contract_address(OPERATOR.address, world.node.nonce(OPERATOR.address))
    terms = (RELAYER.address, SITE.address, FEDERATION, bytes(20), 0, 60)
    world.node.send(OPERATOR, VAULT, VAULT.creation(*terms), None)
    kinds = ["uint256", "address", "address", "uint256"]
    awards = {bytes([n]) * 20: 100 * n for n in range(1, 8)}
    leaves = {account: leaf_hash(kinds, [CHAIN_ID, vault, account, amount]) for account, amount in awards.items()}
    tree = MerkleTree.of(list(leaves.values()))
    world.send(VAULT, vault, "propose", tree.root, sum(awards.values()), b"\x31" * 32)
    world.clock.forward(100)
    world.send(VAULT, vault, "finalize")
    for account, amount in awards.items():
        claim = ("claim", account, amount, list(tree.proof(leaves[account])))
        world.send(VAULT, vault, *claim)
        with pytest.raises(RejectedTransactionError, match="NothingToClaim"):
            world.send(VAULT, vault, *claim)
        assert world.node.call(vault, VAULT, "claimed", account) == (amount,)


def test_a_total_within_the_grant_freezes_nothing(world: World) -> None:
    update = replace(UPDATE, micro_epsilon_total=GRANT)
    signature = world.sign(DEVICE, update)
    digest = signing_digest(world.contracts.identity.rounds, update)
    tree = MerkleTree.of([UpdateLeaf.of(DEVICE.address, digest, signature, RAW).hash()])
    records = world.sealed(tree, MerkleTree.of([]))
    dp = document.to_bytes(DP)
    places = dp.index(b'"delta_e12":'), dp.index(b'"unit":')
    evidence: tuple[object, ...] = (fields(update), DEVICE.address, signature, RAW, [], dp, *places)
    with pytest.raises(RejectedTransactionError, match="NothingWrong"):
        world.send(PRIVACY, world.privacy, "challengeOverspend", evidence, UNIT, records)
