"""Hostile and late replies in a running round: it completes without them and records each with its reason."""

from __future__ import annotations

import pytest

from fedchain.core.cid import Cid
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.task import Task
from fedchain.ports.cohort import Reply
from fedchain.workflow.gate import NOBODY
from tests.scenarios.federation import Federation, Setup, federation
from tests.scenarios.invariants import evidence
from tests.workflow.drafts import NODE, Draft
from tests.workflow.hostile import ATTACKS, Attack

ANONYMOUS = {Reason.BAD_SIGNATURE, Reason.MALFORMED, Reason.NEGATIVE_WEIGHT}
FIRST_OF_EACH = [
    pytest.param(
        reason, next(attack for kind, _, attack in ATTACKS if kind is reason), id=f"{reason:02d} {reason.words}"
    )
    for reason in dict.fromkeys(reason for reason, _, _ in ATTACKS)
]


# ------------------------------------------------------------------ in a round


def with_hostile(setup: Setup, attack: Attack) -> tuple[Federation, list[Reply]]:
    """Return a federation whose last site answers with an attack, and the replies that it will have sent."""
    new, sent = federation(setup), list[Reply]()

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        if reply.node != NODE or task.round > 1:
            return [reply]
        draft = Draft.of(new, task, reply)
        attack(draft)
        sent.append(draft.reply())
        return sent[-1:]

    new.cohort.tamper = tamper
    return new, sent


@pytest.mark.parametrize(("reason", "attack"), FIRST_OF_EACH)
def test_a_round_completes_around_a_hostile_update_and_records_why_it_was_refused(
    reason: Reason, attack: Attack
) -> None:
    new, sent = with_hostile(Setup(rounds=1), attack)
    new.run()
    link, manifest = new.links()[0].link, new.manifest(1)
    assert (link.kind, link.accepted, link.rejected) == (LinkKind.SEALED, 2, 1)
    (rejected,) = manifest.rejected
    signer = NOBODY if reason in ANONYMOUS else new.members[NODE - 1].device.address
    assert (rejected.reason, rejected.round, rejected.signer, rejected.node) == (reason, 1, signer, NODE)
    assert new.store.get(Cid.parse(rejected.evidence_cid)) == stored(sent[0])
    new.check()
    lineage = new.verify(trust=new.trust(), scrub=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())
    assert lineage.rounds[0].rejections == (f"{reason.value}: {reason.words}",)


def stored(reply: Reply) -> bytes:
    """Return the evidence of a reply: its statement with its length, then its payload."""
    return len(reply.header).to_bytes(4) + reply.header + reply.payload


def test_the_same_update_again_is_a_recorded_duplicate_and_counts_once() -> None:
    new = federation(Setup(rounds=1))
    new.cohort.tamper = lambda _, reply: [reply, reply]
    new.run()
    manifest = new.manifest(1)
    assert len(manifest.accepted) == 3
    assert {(each.reason, each.node) for each in manifest.rejected} == {(Reason.DUPLICATE, node) for node in (1, 2, 3)}
    new.check()
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED


def test_replies_that_nobody_signed_are_recorded_three_a_node_and_round() -> None:
    new = federation(Setup(rounds=2))

    def flood(task: Task, reply: Reply) -> list[Reply]:
        garbage = [Reply(reply.node, task.round, bytes([task.round, index]), b"?", "") for index in range(10)]
        return [*garbage, reply] if reply.node < NODE else [reply]

    new.cohort.tamper = flood
    new.run()
    for round_ in (1, 2):
        manifest = new.manifest(round_)
        assert len(manifest.accepted) == 3
        assert [each.node for each in manifest.rejected] == [1, 1, 1, 2, 2, 2]
        assert {(each.reason, each.signer) for each in manifest.rejected} == {(Reason.MALFORMED, NOBODY)}
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED


def test_a_late_reply_is_recorded_in_the_next_round_under_its_own_round() -> None:
    new, late = federation(Setup(rounds=3)), list[Reply]()

    def delay(task: Task, reply: Reply) -> list[Reply]:
        if reply.node == NODE and task.round in {1, 3}:
            late.append(reply)
            new.cohort.late_replies.append(reply)
            return []
        return [reply]

    new.cohort.tamper = delay
    new.run()
    recorded = {
        manifest.round: [(each.reason, each.round, each.node) for each in manifest.rejected]
        for manifest in new.manifests()
    }
    # Round 3 is the last: what was late for it stands in the closing link, which is number 4.
    assert recorded == {1: [], 2: [(Reason.OTHER_ROUND, 1, NODE)], 3: [], 4: [(Reason.OTHER_ROUND, 3, NODE)]}
    assert evidence(new.store, new.manifest(2).rejected[0])[1] == late[0].payload
    new.check()
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED
