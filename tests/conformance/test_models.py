"""What every registry of models does, whatever it is made of: in memory, embedded, behind HTTP, on another node."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from fedchain.adapters.evm.deployment import deploy, remote_node
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.models import EvmModelRegistry, check_models, deploy_models
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.core.digest import ZERO, tagged
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.core.messages import (
    Approval,
    CancelApprovals,
    ConsentGrant,
    ConsentWithdraw,
    Disposition,
    MoveVersion,
    RegisterDataset,
    RegisterReviewer,
    RegistryMessage,
    RevokeReviewer,
    SubmitVersion,
)
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.releases import (
    Behind,
    Decision,
    Edge,
    EdgeKind,
    LinkRecord,
    Version,
    VersionState,
    Vote,
    dataset_leaf,
    datasets_tree,
    meaning_of,
    version_id,
)
from fedchain.ports.ledger import Ledger, LedgerIdentity, Registry
from fedchain.ports.models import (
    ModelRegistry,
    ReleaseIdentity,
    ReleaseTerms,
    ReviewerChanged,
    VersionDecided,
    VersionDisposed,
    VersionMoved,
    VersionSubmitted,
    VersionTainted,
)
from tests.doubles.anvil import Anvil, anvil
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, CHAIN_ID, DEPLOYER, FEDERATION, OPERATOR, RELAYER, TERMS, deployed, served
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.models import MemoryModels
from tests.doubles.signer import NamedSigner

WINDOW: Final = 10 * 24 * 3600
ROLES: Final = 0b110
CLINICAL, QUALITY = 1, 2
A, B, C = b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32
ADMINS: Final = {each: NamedSigner(f"admin {each.hex()}") for each in (A, B, C)}
BEA, CARL, ANNA = NamedSigner("bea"), NamedSigner("carl"), NamedSigner("anna")
BOB = NamedSigner("bob")
REVIEWERS: Final = ((B, BEA, CLINICAL), (C, CARL, QUALITY), (A, ANNA, QUALITY), (B, BOB, QUALITY))
DATASET, OTHER_DATASET = b"\xd1" * 32, b"\xd2" * 32
RUN: Final = b"\x77" * 32
LINK: Final = RoundLink(RUN, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 1, 0)
MINUTE: Final = 60
LATER: Final = 10**6


@dataclass(frozen=True, slots=True)
class World:
    """A registry of models as a relayer sees it, the ledger beside it, and one link of it."""

    clock: ManualClock
    models: ModelRegistry
    ledger: Ledger
    registry: Registry
    record: LinkRecord
    round_hash: bytes

    def sign(self, signer: NamedSigner, message: TypedMessage) -> bytes:
        return signer.sign(signing_digest(self.models.identity().domain, message))

    def act(self, organisation: bytes, message: RegistryMessage) -> None:
        digest = signing_digest(self.ledger.identity().registry, message)
        self.registry.submit(message, ADMINS[organisation].sign(digest))

    def version(self, *parents: bytes) -> Version:
        edges = tuple(Edge(each, EdgeKind.ROUND) for each in parents)
        root = datasets_tree([DATASET, OTHER_DATASET]).root
        return Version(A, LINK.model_digest, LINK.manifest_digest, self.round_hash, root, edges)

    def name(self, version: Version) -> bytes:
        return version_id(self.models.identity().domain, version)

    def submit(self, version: Version) -> bytes:
        name = self.name(version)
        self.models.submit(version, [self.record], self.sign(ADMINS[A], SubmitVersion(name)))
        return name

    def move(self, name: bytes, *states: VersionState) -> None:
        for state in states:
            message = MoveVersion(name, int(state), self.models.status(name).moves + 1)
            self.models.move(message, self.sign(ADMINS[A], message))
        self.clock.forward(MINUTE)

    def in_review(self) -> bytes:
        name = self.submit(self.version())
        self.move(name, VersionState.CANDIDATE, VersionState.IN_REVIEW)
        return name

    def vote(self, signer: NamedSigner, name: bytes, about: Decision | bytes, **changes: int) -> Vote:
        """A vote for a decision, or about a withdrawn dataset."""
        role = next(role for _, each, role in REVIEWERS if each is signer)
        now = self.clock.now()
        terms = {"role": role, "signed_at": now, "valid_until": now + LATER, "nonce": 1} | changes
        vote = Vote(signer.address, meaning=meaning_of("I saw it"), evidence=ZERO, signature=b"", **terms)
        rest = (vote.role, vote.meaning, vote.evidence, vote.signed_at, vote.valid_until, vote.nonce)
        message = Disposition(name, about, *rest) if isinstance(about, bytes) else Approval(name, int(about), *rest)
        return replace(vote, signature=self.sign(signer, message))

    def withdraw(self) -> None:
        self.act(A, ConsentWithdraw(DATASET, self.clock.now(), 0, self.registry.nonce(A)))
        self.clock.forward(MINUTE)

    def behind(self, *path: Version, dataset: bytes = DATASET) -> Behind:
        proof = datasets_tree([DATASET, OTHER_DATASET]).proof(dataset_leaf(DATASET))
        return Behind(path, dataset, tuple(proof))

    def taint(self, *path: Version) -> None:
        self.models.taint(self.behind(*path))
        self.clock.forward(MINUTE)


KINDS: Final = ("memory", "embedded", *(pytest.param(each, marks=pytest.mark.slow) for each in ("http", "anvil")))


@pytest.fixture(params=KINDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    if request.param == "memory":
        identity = LedgerIdentity(CHAIN_ID, b"\x01" * 20, b"\x02" * 20, FEDERATION)
        record = MemoryRecord(identity, clock, OPERATOR.address, AGGREGATOR.address)
        terms = ReleaseTerms(identity.rounds_contract, WINDOW, 2, ROLES)
        models = MemoryModels(ReleaseIdentity(CHAIN_ID, b"\x03" * 20, terms), record)
        yield _populated(
            clock, models, MemoryLedger(record, AGGREGATOR.address), MemoryRegistry(record, OPERATOR.address)
        )
        return
    if request.param == "anvil":
        folder = tmp_path / "node"
        folder.mkdir()
        with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), folder / "i") as node:
            _follow(chain, clock)
            yield _on_a_node(clock, node, deploy(node, DEPLOYER, TERMS))
        return
    with deployed(tmp_path / "chain.sqlite", clock) as contracts:
        if request.param == "embedded":
            yield _on_a_node(clock, contracts.node, contracts.identity)
            return
        with served(contracts.chain) as url:
            yield _on_a_node(clock, remote_node(url), contracts.identity)


def _follow(chain: Anvil, clock: ManualClock) -> None:
    """Give each new time a block: a transaction is first tried at the time of the newest one."""
    chain.follow(clock)
    set_time = clock.is_moved

    def is_moved(time: int) -> None:
        set_time(time)
        chain.mine()

    clock.is_moved = is_moved


def _on_a_node(clock: ManualClock, node: Node, identity: LedgerIdentity) -> World:
    found = deploy_models(node, OPERATOR, ReleaseTerms(identity.rounds_contract, WINDOW, 2, ROLES))
    ledger, registry = EvmLedger(node, identity, AGGREGATOR), EvmRegistry(node, identity, OPERATOR)
    return _populated(clock, EvmModelRegistry(node, found, RELAYER), ledger, registry)


def _populated(clock: ManualClock, models: ModelRegistry, ledger: Ledger, registry: Registry) -> World:
    for organisation, admin in ADMINS.items():
        registry.add_organisation(organisation, admin.address)
    head = ledger.registry_head()
    seal = ledger.seal(LINK, ZERO)
    world = World(clock, models, ledger, registry, LinkRecord(LINK, ZERO, head), seal.round_hash)
    now, unit = clock.now(), tagged("privacy-unit", b"example/lifetime")
    world.act(A, RegisterDataset(DATASET, A, 303, 1))
    world.act(A, ConsentGrant(DATASET, FEDERATION, ZERO, now, now + LATER, 1, 1, unit, 303, 2))
    for organisation, reviewer, role in REVIEWERS:
        nonce = models.reviewer_nonce(organisation)
        message = RegisterReviewer(organisation, reviewer.address, role, now + LATER, nonce)
        models.register_reviewer(message, world.sign(ADMINS[organisation], message))
    clock.forward(MINUTE)
    return world


def test_a_submitted_version_is_a_draft_under_the_name_that_python_gives_it(world: World) -> None:
    version = world.version()
    assert world.models.status(world.name(version)).state is VersionState.UNKNOWN
    name = world.submit(version)
    (recorded,) = world.models.versions()
    assert (recorded.version_id, recorded.version) == (name, version)
    status = world.models.status(name)
    assert (status.state, status.organisation, status.moves) == (VersionState.DRAFT, A, 0)
    assert not world.models.is_released(name)
    with pytest.raises(RejectedTransactionError):
        world.submit(version)


def test_a_version_needs_the_link_that_sealed_it_known_parents_and_its_own_admin(world: World) -> None:
    version = world.version()
    wrong = (replace(version, model=b"\x99" * 32), replace(version, round_hash=ZERO), world.version(b"\x98" * 32))
    for each in wrong:
        with pytest.raises(RejectedTransactionError):
            world.submit(each)
    with pytest.raises(RejectedTransactionError):
        world.models.submit(version, [world.record], world.sign(ADMINS[B], SubmitVersion(world.name(version))))
    assert list(world.models.versions()) == []


def test_moves_go_step_by_step_with_counted_nonces(world: World) -> None:
    name = world.submit(world.version())
    for state, nonce in ((VersionState.IN_REVIEW, 1), (VersionState.CANDIDATE, 2), (VersionState.APPROVED, 1)):
        message = MoveVersion(name, int(state), nonce)
        with pytest.raises(RejectedTransactionError):
            world.models.move(message, world.sign(ADMINS[A], message))
    world.move(name, VersionState.CANDIDATE, VersionState.IN_REVIEW, VersionState.CANDIDATE, VersionState.DRAFT)
    assert (world.models.status(name).state, world.models.status(name).moves) == (VersionState.DRAFT, 4)


def test_a_quorum_of_every_role_releases_until_the_first_approval_ends(world: World) -> None:
    name = world.in_review()
    first = world.vote(BEA, name, Decision.APPROVE, valid_until=world.clock.now() + 500)
    world.models.decide(name, Decision.APPROVE, [first, world.vote(CARL, name, Decision.APPROVE)])
    assert world.models.status(name).state is VersionState.APPROVED
    assert world.models.status(name).approved_until == first.valid_until
    assert world.models.is_released(name)
    world.clock.forward(600)
    late = MoveVersion(name, int(VersionState.DEPLOYED), 3)
    with pytest.raises(RejectedTransactionError):
        world.models.move(late, world.sign(ADMINS[A], late))


def test_votes_that_do_not_count_release_nothing(world: World) -> None:
    name = world.in_review()
    good, now = world.vote(CARL, name, Decision.APPROVE), world.clock.now()
    bea = world.vote(BEA, name, Decision.APPROVE)
    wrong = {
        "one alone": [good],
        "the same twice": [good, good],
        "its own model": [bea, world.vote(ANNA, name, Decision.APPROVE)],
        "one organisation": [bea, world.vote(BOB, name, Decision.APPROVE)],
        "no clinical": [good, world.vote(BOB, name, Decision.APPROVE)],
        "another role": [good, world.vote(BEA, name, Decision.APPROVE, role=QUALITY)],
        "another decision": [good, world.vote(BEA, name, Decision.SEND_BACK)],
        "another version": [good, world.vote(BEA, b"\x99" * 32, Decision.APPROVE)],
        "another's signature": [good, replace(bea, signature=good.signature)],
        "before the review": [good, world.vote(BEA, name, Decision.APPROVE, signed_at=now - 10 * MINUTE)],
        "in the future": [good, world.vote(BEA, name, Decision.APPROVE, signed_at=now + LATER)],
        "expired": [good, world.vote(BEA, name, Decision.APPROVE, valid_until=now)],
    }
    for what, votes in wrong.items():
        with pytest.raises(RejectedTransactionError):
            world.models.decide(name, Decision.APPROVE, votes)
        assert world.models.status(name).state is VersionState.IN_REVIEW, what
    world.models.decide(name, Decision.APPROVE, [good, bea])


def test_a_vote_that_was_taken_back_or_whose_reviewer_left_counts_no_more(world: World) -> None:
    name = world.in_review()
    bea, carl = (world.vote(each, name, Decision.APPROVE) for each in (BEA, CARL))
    back = CancelApprovals(BEA.address, 2)
    with pytest.raises(RejectedTransactionError):
        world.models.cancel_approvals(back, world.sign(CARL, back))
    world.models.cancel_approvals(back, world.sign(BEA, back))
    with pytest.raises(RejectedTransactionError):
        world.models.decide(name, Decision.APPROVE, [bea, carl])
    again = world.vote(BEA, name, Decision.APPROVE, nonce=2)
    left = RevokeReviewer(CARL.address, world.models.reviewer_nonce(C))
    world.models.revoke_reviewer(left, world.sign(ADMINS[C], left))
    reviewer = world.models.reviewer(CARL.address)
    assert reviewer is not None
    assert (reviewer.organisation, reviewer.role) == (C, QUALITY)
    assert world.models.reviewer(RELAYER.address) is None
    with pytest.raises(RejectedTransactionError):
        world.models.decide(name, Decision.APPROVE, [again, carl])


def test_a_quorum_sends_back_and_one_reviewer_of_any_organisation_suspends(world: World) -> None:
    name = world.in_review()
    world.models.decide(name, Decision.SEND_BACK, [world.vote(each, name, Decision.SEND_BACK) for each in (BEA, CARL)])
    assert world.models.status(name).state is VersionState.CANDIDATE
    world.clock.forward(MINUTE)
    world.move(name, VersionState.IN_REVIEW)
    votes = [world.vote(each, name, Decision.APPROVE) for each in (BEA, CARL)]
    world.models.decide(name, Decision.APPROVE, votes)
    world.models.decide(name, Decision.SUSPEND, [world.vote(ANNA, name, Decision.SUSPEND)])
    assert world.models.status(name).state is VersionState.SUSPENDED
    assert not world.models.is_released(name)
    with pytest.raises(RejectedTransactionError):
        world.models.decide(name, Decision.APPROVE, votes)


def test_a_withdrawn_dataset_taints_until_a_disposition_and_children_are_born_tainted(world: World) -> None:
    name = world.in_review()
    with pytest.raises(RejectedTransactionError):
        world.taint(world.version())
    world.withdraw()
    world.taint(world.version())
    assert world.models.status(name).state is VersionState.TAINTED
    with pytest.raises(RejectedTransactionError):
        world.models.decide(name, Decision.APPROVE, [world.vote(each, name, Decision.APPROVE) for each in (BEA, CARL)])
    child = world.submit(world.version(name))
    assert world.models.status(child).state is VersionState.TAINTED
    with pytest.raises(RejectedTransactionError):
        world.models.dispose(world.behind(world.version()), [world.vote(BEA, name, DATASET)])
    for dataset in (OTHER_DATASET, b"\xd3" * 32):
        votes = [world.vote(each, name, dataset) for each in (BEA, CARL)]
        with pytest.raises(RejectedTransactionError):  # no proof that this one stands behind the version
            world.models.dispose(world.behind(world.version(), dataset=dataset), votes)
    votes = [world.vote(each, name, DATASET) for each in (BEA, CARL)]
    with pytest.raises(RejectedTransactionError):  # the child's path, the parent's votes
        world.models.dispose(world.behind(world.version(name), world.version()), votes)
    world.models.dispose(world.behind(world.version()), votes)
    assert world.models.status(name).state is VersionState.CANDIDATE
    assert world.models.is_disposed(name, DATASET)
    assert not world.models.is_disposed(child, DATASET)
    with pytest.raises(RejectedTransactionError):
        world.taint(world.version())


def test_a_descendant_is_tainted_over_the_path_to_its_ancestor_and_no_other(world: World) -> None:
    parent = world.submit(world.version())
    child = replace(world.version(parent), datasets_root=ZERO)
    name = world.submit(child)
    world.withdraw()
    stranger = replace(world.version(), bundle=b"\x97" * 32)
    for path in ((), (child,), (child, stranger)):
        with pytest.raises(RejectedTransactionError):
            world.taint(*path)
    world.taint(child, world.version())
    assert world.models.status(name).state is VersionState.TAINTED
    assert world.models.status(parent).state is VersionState.DRAFT


def test_every_step_is_told_with_its_message_its_signature_and_its_votes(world: World) -> None:
    named = [each.step for each in world.models.events()]
    assert [type(each) for each in named] == [ReviewerChanged] * len(REVIEWERS)
    name = world.in_review()
    votes = [world.vote(each, name, Decision.APPROVE) for each in (BEA, CARL)]
    sent = world.models.decide(name, Decision.APPROVE, votes)
    world.withdraw()
    world.taint(world.version())
    decided = [world.vote(each, name, DATASET) for each in (BEA, CARL)]
    world.models.dispose(world.behind(world.version()), decided)
    back, left = CancelApprovals(BEA.address, 2), RevokeReviewer(CARL.address, world.models.reviewer_nonce(C))
    world.models.cancel_approvals(back, world.sign(BEA, back))
    world.models.revoke_reviewer(left, world.sign(ADMINS[C], left))
    events = list(world.models.events())[len(REVIEWERS) :]
    until, states = min(each.valid_until for each in votes), (VersionState.DRAFT, VersionState.CANDIDATE)
    moves = [
        MoveVersion(name, int(VersionState.CANDIDATE), 1), MoveVersion(name, int(VersionState.IN_REVIEW), 2),
    ]  # fmt: skip
    assert [each.step for each in events] == [
        VersionSubmitted(name, world.version(), world.sign(ADMINS[A], SubmitVersion(name))),
        VersionMoved(name, *states, world.sign(ADMINS[A], moves[0])),
        VersionMoved(name, states[1], VersionState.IN_REVIEW, world.sign(ADMINS[A], moves[1])),
        VersionDecided(name, Decision.APPROVE, VersionState.APPROVED, until, tuple(votes)),
        VersionTainted(name, DATASET, name),
        VersionDisposed(name, DATASET, tuple(decided)),
        ReviewerChanged(back, world.sign(BEA, back)),
        ReviewerChanged(left, world.sign(ADMINS[C], left)),
    ]
    assert [each.transaction for each in events if isinstance(each.step, VersionDecided)] == [sent]
    assert [each.at for each in events] == sorted(each.at for each in events)


# deploying


def test_a_registry_of_models_is_deployed_once_and_nothing_else_is_taken_for_it(tmp_path: Path) -> None:
    with deployed(tmp_path / "chain.sqlite", ManualClock()) as contracts:
        terms = ReleaseTerms(contracts.identity.rounds_contract, WINDOW, 2, ROLES)
        first = deploy_models(contracts.node, OPERATOR, terms)
        sent = contracts.node.nonce(OPERATOR.address)
        assert deploy_models(contracts.node, OPERATOR, terms) == first
        assert contracts.node.nonce(OPERATOR.address) == sent
        other = deploy_models(contracts.node, OPERATOR, replace(terms, quorum=3))
        assert contracts.node.nonce(OPERATOR.address) == sent + 1, "the challenges are shared"
        assert other.contract != first.contract
        wrong = (
            replace(first, contract=contracts.identity.registry_contract),
            replace(first, contract=b"\x09" * 20),
            replace(first, chain_id=1),
            replace(first, terms=replace(terms, required_roles=1)),
        )
        for each in wrong:
            with pytest.raises(InputError):
                check_models(contracts.node, each)
        vote = CancelApprovals(BEA.address, 2)
        with pytest.raises(InputError, match="no key"):
            EvmModelRegistry(contracts.node, first).cancel_approvals(vote, b"")
