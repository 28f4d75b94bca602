"""Receipts: every member of a sealed round is asked until it signed, and nobody's word is taken for another's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest

from fedchain.core.eip712 import signing_digest
from fedchain.core.lineage import Verdict
from fedchain.core.messages import RoundReceipt
from fedchain.core.record import LinkKind
from fedchain.core.signatures import recover
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.cohort import ReceiptReply, Reply
from fedchain.ports.site_state import Evidence
from fedchain.ports.watcher import ReplyRejected
from tests.doubles.cohort import DirectCohort
from tests.doubles.power import PowerCutError, at
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import IDENTITY, Setup, federation


def test_every_member_co_signs_every_round_and_the_closing_link() -> None:
    new = federation()
    state = new.run()
    addresses = {each.device.address for each in new.members}
    for event in new.links():
        receipt = RoundReceipt(IDENTITY.federation, event.link.run, event.link.round, event.round_hash)
        receipts = state.receipts[event.link.round]
        digest = signing_digest(IDENTITY.rounds, receipt)
        assert {recover(digest, each.signature) for each in receipts.values()} == receipts.keys() == addresses


def test_only_members_of_the_round_are_asked_and_the_closing_link_goes_to_those_of_the_last_one() -> None:
    new = federation()
    new.cohort.tamper = lambda task, reply: [] if reply.node == task.round else [reply]
    state = new.run()
    devices = [each.device.address for each in new.members]
    assert {round_: set(receipts) for round_, receipts in state.receipts.items()} == {
        1: {devices[1], devices[2]}, 2: {devices[0], devices[2]}, 3: {devices[0], devices[2]},
    }  # fmt: skip


def test_nobody_is_asked_to_sign_an_aborted_round() -> None:
    new = federation(Setup(rounds=1, timeout_s=60))
    with pytest.raises(PowerCutError):
        new.machine(at("after journal opened")).run()
    new.clock.forward(61)
    state = new.run()
    assert [event.link.kind for event in new.links()] == [LinkKind.ABORTED, LinkKind.SEALED, LinkKind.CLOSED]
    assert sorted(state.receipts) == [2, 3]


def test_a_site_that_refuses_is_reported_and_the_run_goes_on() -> None:
    new = federation()
    new.cohort.alter = lambda _, reply: [replace(reply, signature=b"", error="not today") if reply.node == 2 else reply]
    state = new.run()
    assert {round_: len(receipts) for round_, receipts in state.receipts.items()} == {1: 2, 2: 2, 3: 2}
    refused = {event for event in new.events if isinstance(event, ReplyRejected)}
    assert refused == {ReplyRejected(round_, "node 2", "not today") for round_ in (1, 2, 3)}
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED


def test_a_silent_site_leaves_a_run_without_its_receipts_and_another_start_asks_for_them() -> None:
    new = federation(Setup(rounds=1))
    new.cohort.alter = lambda _, reply: [] if reply.node == 3 else [reply]
    assert {len(each) for each in new.run().receipts.values()} == {2}
    new.cohort.alter = lambda _, reply: [reply]
    assert {len(each) for each in new.run().receipts.values()} == {3}
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED


def foreign(proof: RoundProof, reply: ReceiptReply) -> ReceiptReply:
    """Sign the right receipt with a key that is nobody's."""
    new = NamedSigner("a stranger")
    receipt = RoundReceipt(IDENTITY.federation, proof.run, proof.round, bytes(32))
    return replace(reply, signer=new.address, signature=new.sign(signing_digest(IDENTITY.rounds, receipt)))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (foreign, "receipt of a stranger"),
        (lambda _, reply: replace(reply, signature=b""), "65 or 128 bytes"),
        (lambda _, reply: replace(reply, signature=bytes(65)), "v of 27 or 28"),
        (lambda _, reply: replace(reply, signature=b"\x01" * 64 + b"\x1b"), "receipt of a stranger"),
    ],
    ids=["foreign key", "empty", "zeros", "of another hash"],
)
def test_a_signature_that_is_no_members_is_reported_and_not_taken(change: object, told: str) -> None:
    new = federation(Setup(rounds=1))
    assert callable(change)
    new.cohort.alter = lambda proof, reply: [change(proof, reply)] if reply.node == 1 else [reply]
    state = new.run()
    assert {len(each) for each in state.receipts.values()} == {2}
    rejected = [event for event in new.events if isinstance(event, ReplyRejected)]
    assert {event.client for event in rejected} == {"node 1"}
    assert all(told in event.reason for event in rejected)


def test_a_receipt_counts_for_whoever_signed_it_whatever_the_reply_says() -> None:
    new = federation(Setup(rounds=1))
    new.cohort.alter = lambda _, reply: [replace(reply, signer=bytes(20), node=99)]
    assert {len(each) for each in new.run().receipts.values()} == {3}


def test_a_receipt_that_comes_twice_counts_once() -> None:
    new = federation(Setup(rounds=1))
    new.cohort.alter = lambda _, reply: [reply, reply]
    assert {len(each) for each in new.run().receipts.values()} == {3}
    assert all(len(pin.receipts) == 3 for pin in new.trust().pins)


def test_a_site_is_not_asked_again_for_what_it_signed_before_a_crash() -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(PowerCutError):
        new.machine(at("after journal countersigned")).run()
    before = len(new.cohort.proofs)
    new.run()
    assert before == 1
    assert len(new.cohort.proofs) == 2 * len(new.members)


@dataclass(frozen=True, slots=True)
class Omitting:
    """A cohort whose aggregator proves that a round holds something else."""

    cohort: DirectCohort

    def train(self, task: Task, model: bytes, answered: frozenset[int]) -> Iterator[Sequence[Reply]]:
        return self.cohort.train(task, model, answered)

    def late(self) -> Iterator[Reply]:
        return self.cohort.late()

    def promise(self, node: int, promise: SignedPromise) -> None:
        self.cohort.promise(node, promise)

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        return self.cohort.countersign([(node, replace(proof, updates_root=b"\x0e" * 32)) for node, proof in proofs])


def test_an_aggregator_that_drops_a_promised_update_gets_no_receipt_of_its_site() -> None:
    new = federation(Setup(rounds=1))
    state = new.machine(cohort=Omitting(new.cohort)).run()
    assert state.receipts == {}
    told = {event.reason for event in new.events if isinstance(event, ReplyRejected) and event.round == 1}
    assert told == {f"round 1 does not include site-{number}'s update" for number in (1, 2, 3)}
    assert {member.state.kept(Evidence.RECEIPT, new.plan.manifest.run, 1) for member in new.members} == {None}
