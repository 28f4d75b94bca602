"""Challenges on the embedded chain: who broke a rule is frozen or exposed, and who kept the rules is never harmed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.challenges import EvmChallengeBook, check_book, deploy_book
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.core import document
from fedchain.core.challenges import Included, Overspend, PromiseState, Refused
from fedchain.core.cid import RAW, Cid, cid_of
from fedchain.core.digest import ZERO, tagged
from fedchain.core.eip712 import TypedMessage, signing_digest
from fedchain.core.errors import InputError, RejectedTransactionError
from fedchain.core.manifest import ROUND_FORMAT, AcceptedUpdate, ArtifactRef, RejectedReply, RoundManifest
from fedchain.core.messages import (
    UNBOUNDED,
    ClientUpdate,
    ConsentGrant,
    InclusionPromise,
    KeyPossession,
    RegisterDataset,
    RegisterDevice,
    RoundReceipt,
)
from fedchain.core.privacy import SUBSAMPLED_GAUSSIAN, DpParams
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.task import SignedPromise, UpdateHeader, leaf_of
from fedchain.core.trust import TRUST_FORMAT, Pin, SignedReceipt, TrustFile
from fedchain.workflow.challenges import Chronicle, answer_to, equivocations, overspends
from fedchain.workflow.outcome import link_of, updates_tree
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, CHAIN_ID, FEDERATION, OPERATOR, RELAYER, SITE, STRANGER, Deployed, deployed
from tests.doubles.signer import NamedSigner
from tests.doubles.store import MemoryStore

WINDOW = 10 * 24 * 3600
RUN, ORGANISATION, DATASET, POLICY = b"\x77" * 32, b"\x01" * 32, b"\x02" * 32, b"\x03" * 32
GRANT = 8_000_000
DEVICE = NamedSigner("device of the site")
NOW = ManualClock().time
DEADLINE = NOW + 600
YEAR = 365 * 24 * 3600
LIFETIME, SANDBOX = (tagged("privacy-unit", f"example/{kind}".encode()) for kind in ("lifetime", "sandbox"))
DP = DpParams(SUBSAMPLED_GAUSSIAN, 1_100_000, 10**6, 10, 40, 10**7, "example", "zero-out", "prv", "os.urandom", 900_000)
PAYLOAD = b"an update"


@dataclass(slots=True)
class World:
    clock: ManualClock
    contracts: Deployed
    ledger: EvmLedger
    book: EvmChallengeBook
    store: MemoryStore
    previous: bytes = ZERO
    round: int = 0

    def sign(self, signer: NamedSigner, message: TypedMessage) -> bytes:
        return signer.sign(signing_digest(self.contracts.identity.rounds, message))

    def act(self, message: RegisterDevice | RegisterDataset | ConsentGrant) -> None:
        EvmRegistry(self.contracts.node, self.contracts.identity, SITE).submit(message, b"")

    def grant(self, nonce: int, unit: bytes = LIFETIME) -> None:
        now = self.clock.now()
        self.act(ConsentGrant(DATASET, FEDERATION, POLICY, now, now + YEAR, GRANT, 10**7, unit, 303, nonce))

    def header(self, total: int = GRANT, nonce: int = 1) -> UpdateHeader:
        message = ClientUpdate(
            FEDERATION, RUN, self.round + 1, b"\x13" * 32, b"\x05" * 32, cid_of(PAYLOAD).digest, DATASET, POLICY, 303,
            total, DP.digest(), b"\x07" * 32, b"\x08" * 32, b"\x09" * 32, nonce, DEADLINE,
        )  # fmt: skip
        return UpdateHeader(CHAIN_ID, self.contracts.identity.rounds_contract, message, self.sign(DEVICE, message), DP)

    def reply(self, header: UpdateHeader, reason: Reason) -> RejectedReply:
        data = document.to_bytes(header)
        cid = self.store.put(len(data).to_bytes(4, "big") + data + PAYLOAD)
        return RejectedReply(int(reason), header.message.round, DEVICE.address, 7, cid.text)

    def leaf(self, header: UpdateHeader) -> bytes:
        return leaf_of(self.contracts.identity.rounds, header, DEVICE.address, cid_of(PAYLOAD).codec)

    def seal(self, *accepted: UpdateHeader, rejected: Sequence[RejectedReply] = ()) -> None:
        """Seal the next round, as an aggregator that checks nothing."""
        self.round += 1
        model, payload = ArtifactRef(self.store.put(b"model").text, b"\x14" * 32), self.store.put(PAYLOAD).text
        manifest = RoundManifest(
            format=ROUND_FORMAT, run_manifest=model.cid, federation=FEDERATION, run=RUN, round=self.round, attempt=1,
            kind=int(LinkKind.SEALED), reason="", base_model=replace(model, digest=b"\x13" * 32), model=model,
            accepted=tuple(AcceptedUpdate(each, payload) for each in accepted), rejected=tuple(rejected),
            registry_head=self.ledger.registry_head(), opened_at=NOW, deadline=DEADLINE, closed_at=NOW, state=None,
        )  # fmt: skip
        leaves = [(each, DEVICE.address, payload) for each in accepted]
        tree = updates_tree(self.contracts.identity.rounds, leaves)
        link = link_of(manifest, self.store.put(document.to_bytes(manifest)), tree)
        self.previous = self.ledger.seal(link, self.previous).round_hash

    def chronicle(self) -> Chronicle:
        return Chronicle.of(self.ledger, self.store)

    def promised(self, header: UpdateHeader, signer: NamedSigner = AGGREGATOR) -> SignedPromise:
        promise = InclusionPromise(FEDERATION, RUN, header.message.round, self.leaf(header), NOW + 60)
        return SignedPromise(promise, self.sign(signer, promise), 1)

    def challenged(self, header: UpdateHeader) -> InclusionPromise:
        promised = self.promised(header)
        self.clock.forward(120)
        self.book.challenge_omission(promised, AGGREGATOR.address)
        return promised.promise

    def state(self) -> PromiseState:
        (omission,) = self.book.omissions()
        return omission.state


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    with deployed(tmp_path / "chain.sqlite", clock) as contracts:
        node, identity = contracts.node, contracts.identity
        book = EvmChallengeBook(node, deploy_book(node, OPERATOR, identity.rounds_contract, WINDOW), RELAYER)
        EvmRegistry(node, identity, OPERATOR).add_organisation(ORGANISATION, SITE.address)
        made = World(clock, contracts, EvmLedger(node, identity, AGGREGATOR), book, MemoryStore())
        words = KeyPossession(ORGANISATION, DEVICE.address)
        possession = DEVICE.sign(signing_digest(identity.registry, words))
        made.act(RegisterDevice(ORGANISATION, DEVICE.address, NOW, NOW + YEAR, 1, possession, 1))
        made.act(RegisterDataset(DATASET, ORGANISATION, 303, 2))
        made.grant(3)
        yield made


@pytest.mark.slow
def test_the_contracts_are_deployed_once_and_others_are_not_taken_for_them(world: World) -> None:
    node, identity = world.contracts.node, world.book.identity()
    sent = node.nonce(OPERATOR.address)
    assert deploy_book(node, OPERATOR, identity.rounds_contract, WINDOW) == identity
    assert node.nonce(OPERATOR.address) == sent
    wrong = (
        replace(identity, privacy_contract=identity.challenges_contract),
        replace(identity, challenges_contract=identity.privacy_contract),
        replace(identity, chain_id=1),
        replace(identity, answer_window_s=WINDOW + 1),
    )
    for each in wrong:
        with pytest.raises(InputError):
            check_book(node, each)
    with pytest.raises(InputError, match="no key"):
        EvmChallengeBook(node, identity).conclude(world.promised(world.header()).promise)


# overspending


def test_a_dataset_that_spent_more_than_its_grant_is_frozen_until_its_site_consents_anew(world: World) -> None:
    world.seal(world.header(total=GRANT + 1))
    world.seal(world.header(total=GRANT + 2), rejected=())
    (shown,) = overspends(world.chronicle())
    assert (shown.header.message.round, len(shown.records)) == (1, 2)
    world.book.challenge_overspend(shown)
    (freeze,) = world.book.freezes()
    assert (freeze.dataset, freeze.micro_epsilon_total, freeze.limit, freeze.is_frozen) == (
        DATASET, GRANT + 1, GRANT, True,
    )  # fmt: skip
    with pytest.raises(RejectedTransactionError, match="AlreadyFrozen"):
        world.book.challenge_overspend(shown)
    world.clock.forward(1000)
    world.grant(4)
    assert [each.is_frozen for each in world.book.freezes()] == [False]
    assert overspends(world.chronicle()) == (), "what came before the new consent is forgiven"


@pytest.mark.slow
def test_a_dataset_within_its_grant_is_not_frozen_whatever_is_shown(world: World) -> None:
    honest = world.header(total=GRANT)
    world.seal(honest)
    assert overspends(world.chronicle()) == ()
    chronicle, tree = world.chronicle(), updates_tree(
        world.contracts.identity.rounds, [(honest, DEVICE.address, cid_of(PAYLOAD).text)]
    )  # fmt: skip
    shown = Overspend(
        honest, DEVICE.address, cid_of(PAYLOAD).codec, tree.proof(world.leaf(honest)), "example/lifetime", GRANT,
        chronicle.records(RUN, 1),
    )  # fmt: skip
    above = replace(honest, message=replace(honest.message, micro_epsilon_total=GRANT + 1))
    attempts = {
        "NothingWrong": shown,
        "WrongProof": replace(shown, header=above),
        "NotLifetime": replace(shown, unit="example/sandbox"),
        "OtherPrivacy": replace(shown, header=replace(honest, dp=replace(DP, unit="patient"))),
        "ForeignDevice|WrongProof": replace(shown, signer=STRANGER.address),
    }
    for reason, each in attempts.items():
        with pytest.raises(RejectedTransactionError, match=reason):
            world.book.challenge_overspend(each)
    assert list(world.book.freezes()) == []


@pytest.mark.parametrize("total", [GRANT + 1, UNBOUNDED], ids=["sandbox", "unbounded"])
@pytest.mark.slow
def test_what_no_lifetime_grant_bounds_is_not_held_against_a_dataset(world: World, total: int) -> None:
    if total != UNBOUNDED:
        world.grant(4, SANDBOX)
    world.seal(world.header(total=total))
    assert overspends(world.chronicle()) == ()


# equivocation


def trust(world: World, round_hash: bytes, *signers: NamedSigner, claimed: NamedSigner | None = None) -> TrustFile:
    receipt = RoundReceipt(FEDERATION, RUN, 1, round_hash)
    receipts = tuple(SignedReceipt((claimed or each).address, world.sign(each, receipt)) for each in signers)
    identity = world.contracts.identity
    contracts = identity.registry_contract, identity.rounds_contract
    return TrustFile(TRUST_FORMAT, "", CHAIN_ID, *contracts, FEDERATION, (), (Pin(RUN, 1, round_hash, receipts),))


def test_a_key_that_signed_two_hashes_of_a_round_is_exposed_and_no_other(world: World) -> None:
    world.seal(world.header())
    one = trust(world, world.previous, DEVICE, STRANGER)
    rounds = world.contracts.identity.rounds
    assert equivocations(rounds, one, one) == ()
    assert equivocations(rounds, one, trust(world, b"\x99" * 32, STRANGER, claimed=DEVICE)) == (), "a forged receipt"
    found = {each.signer: each for each in equivocations(rounds, one, trust(world, b"\x99" * 32, DEVICE, STRANGER))}
    with pytest.raises(RejectedTransactionError, match="UnknownSigner"):
        world.book.prove_equivocation(found[STRANGER.address])
    honest = replace(found[DEVICE.address], other=found[DEVICE.address].one)
    with pytest.raises(RejectedTransactionError, match="NoEquivocation"):
        world.book.prove_equivocation(honest)
    world.book.prove_equivocation(found[DEVICE.address])
    (exposed,) = world.book.exposures()
    assert (exposed.signer, exposed.round) == (DEVICE.address, 1)
    assert {exposed.one_hash, exposed.other_hash} == {world.previous, b"\x99" * 32}


# omission


def test_an_aggregator_that_kept_its_promise_shows_it_and_is_left_alone(world: World) -> None:
    header = world.header()
    world.seal(header)
    world.seal(world.header(nonce=2))
    with pytest.raises(RejectedTransactionError, match="NotDue"):
        world.book.challenge_omission(world.promised(header), AGGREGATOR.address)
    promise = world.challenged(header)
    assert world.state() is PromiseState.CHALLENGED
    found = answer_to(world.chronicle(), promise)
    assert isinstance(found, Included)
    world.book.answer(found)
    assert world.state() is PromiseState.KEPT
    world.clock.forward(2 * WINDOW)
    with pytest.raises(RejectedTransactionError, match="WrongState"):
        world.book.conclude(promise)


@pytest.mark.slow
def test_a_rejected_update_is_answered_with_its_reply(world: World) -> None:
    header = world.header()
    world.seal(rejected=[world.reply(header, Reason.NORM_ABOVE_BOUND), world.reply(header, Reason.DUPLICATE)])
    promise = world.challenged(header)
    found = answer_to(world.chronicle(), promise)
    assert isinstance(found, Refused)
    assert found.rejected.reason == Reason.NORM_ABOVE_BOUND
    with pytest.raises(RejectedTransactionError, match="OtherReply"):
        world.book.answer(replace(found, reply=found.reply.replace(b'"signature":"0x', b'"signature":"0y')))
    world.book.answer(found)
    assert world.state() is PromiseState.REJECTED


@pytest.mark.slow
def test_a_duplicate_alone_answers_nothing(world: World) -> None:
    header = world.header()
    world.seal(rejected=[world.reply(header, Reason.DUPLICATE)])
    assert answer_to(world.chronicle(), world.promised(header).promise) is None


def test_an_aggregator_that_left_out_an_update_cannot_answer_and_is_shown_to_have_broken_its_word(world: World) -> None:
    header = world.header()
    world.seal(world.header(nonce=2))
    promise = world.challenged(header)
    assert answer_to(world.chronicle(), promise) is None
    with pytest.raises(RejectedTransactionError, match="WindowOpen"):
        world.book.conclude(promise)
    world.clock.forward(WINDOW + 60)
    world.book.conclude(promise)
    assert world.state() is PromiseState.BROKEN


@pytest.mark.slow
def test_a_promise_that_no_aggregator_signed_harms_nobody(world: World) -> None:
    promised = world.promised(world.header(), STRANGER)
    world.seal()
    world.clock.forward(120)
    for signer in (STRANGER.address, AGGREGATOR.address):
        with pytest.raises(RejectedTransactionError):
            world.book.challenge_omission(promised, signer)
    assert list(world.book.omissions()) == []


@pytest.mark.slow
def test_what_is_damaged_in_the_store_proves_nothing(world: World) -> None:
    header = world.header(total=GRANT + 1)
    world.seal(header)
    digest = world.chronicle().links[0].event.link.manifest_digest
    del world.store.artifacts[Cid(RAW, digest)]
    assert overspends(world.chronicle()) == ()
    assert answer_to(world.chronicle(), world.promised(header).promise) is None
