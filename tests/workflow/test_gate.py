"""The admission gate: every class of hostile update is refused for its own reason, in a fixed order of precedence."""

from __future__ import annotations

import copy
import functools
import itertools
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.lineage import Verdict
from fedchain.core.privacy import DpParams
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.task import Task, UpdateHeader
from fedchain.ports.cohort import Reply
from fedchain.workflow.gate import NOBODY, Admission, Gate, Refusal
from fedchain.workflow.registry_view import RegistryView
from tests.doubles.power import PowerCutError
from tests.scenarios.federation import Federation, Setup, Snapshot, federation
from tests.scenarios.invariants import evidence
from tests.workflow.drafts import Draft, safetensors
from tests.workflow.hostile import ATTACKS, OTHER, Attack

NODE = 3
ANONYMOUS = {Reason.BAD_SIGNATURE, Reason.MALFORMED, Reason.NEGATIVE_WEIGHT}
CASES = [
    pytest.param(reason, attack, id=f"{reason:02d} {reason.name.lower()}: {name}") for reason, name, attack in ATTACKS
]
FIRST_OF_EACH = [
    pytest.param(
        reason, next(attack for kind, _, attack in ATTACKS if kind is reason), id=f"{reason:02d} {reason.words}"
    )
    for reason in dict.fromkeys(reason for reason, _, _ in ATTACKS)
]


def genuine(setup: Setup | None = None) -> Draft:
    """Return the draft of what the last site answers to the first task of a new federation."""
    draft, snapshot = _answer(setup or Setup())
    draft.federation.restore(snapshot)
    return copy.copy(draft)


@functools.cache
def _answer(setup: Setup) -> tuple[Draft, Snapshot]:
    new = federation(setup)
    drafts: list[Draft] = []

    def listen(task: Task, reply: Reply) -> list[Reply]:
        if reply.node < NODE:
            return []
        drafts.append(Draft.of(new, task, reply))
        raise PowerCutError

    new.cohort.tamper = listen
    with pytest.raises(PowerCutError):
        new.run()
    return drafts[0], new.snapshot()


def gate(draft: Draft) -> Gate:
    """Return the gate of the draft's task as things stand now."""
    new = draft.federation
    return Gate(draft.task, new.plan.manifest, RegistryView(new.ledger).current(), new.plan.policies, new.clock.now())


def refusal(draft: Draft, admitted: frozenset[bytes] = frozenset()) -> Refusal:
    verdict = gate(draft).judge(draft.reply(), admitted)
    assert isinstance(verdict, Refusal)
    return verdict


# ------------------------------------------------------------------ each class


def test_a_genuine_update_is_admitted_with_its_signer_and_its_tensors() -> None:
    draft = genuine()
    reply = draft.reply()
    verdict = gate(draft).judge(reply, frozenset())
    assert isinstance(verdict, Admission)
    assert verdict.signer == draft.signer.address
    assert verdict.header == document.from_bytes(UpdateHeader, reply.header)
    assert {name: array.tolist() for name, array in verdict.tensors.items()} == {
        name: array.tolist() for name, array in draft.tensors.items()
    }


@pytest.mark.parametrize(("reason", "attack"), CASES)
def test_a_hostile_update_is_refused_for_its_reason(reason: Reason, attack: Attack) -> None:
    draft = genuine()
    attack(draft)
    signer = NOBODY if reason in ANONYMOUS else draft.signer.address
    assert refusal(draft) == Refusal(reason, signer)


def test_an_update_is_admitted_once() -> None:
    draft = genuine()
    assert refusal(draft, frozenset([draft.signer.address])) == Refusal(Reason.DUPLICATE, draft.signer.address)


def test_unprotected_training_is_refused_where_the_policy_does_not_allow_it() -> None:
    draft = genuine(Setup(epsilon=None))
    member = draft.federation.members[NODE - 1].applicant
    strict = document.from_bytes(type(member.policy), document.to_bytes(member.policy).replace(b"true", b"false"))
    policies = draft.federation.plan.policies | {member.policy.digest(): strict}
    verdict = Gate(
        draft.task, draft.federation.plan.manifest, RegistryView(draft.federation.ledger).current(), policies,
        draft.federation.clock.now(),
    ).judge(draft.reply(), frozenset())  # fmt: skip
    assert verdict == Refusal(Reason.GRANT_EXCEEDED, draft.signer.address)


def test_a_consent_to_other_terms_than_the_policy_covers_nothing() -> None:
    for change in (
        {"micro_epsilon_grant": 1}, {"delta_e12": 1}, {"unit": OTHER}, {"policy": OTHER}, {"until": 1_800_003_601},
    ):  # fmt: skip
        draft = genuine()
        state = RegistryView(draft.federation.ledger).current()
        dataset = draft.message.dataset
        state.consents[dataset] = replace(
            state.consents[dataset], grant=replace(state.consents[dataset].grant, **change)
        )
        verdict = replace(gate(draft), registry=state).judge(draft.reply(), frozenset())
        assert verdict == Refusal(Reason.NO_CONSENT, draft.signer.address), change


def test_a_neighbours_policy_covers_nothing_even_where_the_site_consented_to_it() -> None:
    draft = genuine()
    neighbour = draft.federation.members[0].applicant.policy.digest()
    state = RegistryView(draft.federation.ledger).current()
    consent = state.consents[draft.message.dataset]
    state.consents[draft.message.dataset] = replace(consent, grant=replace(consent.grant, policy=neighbour))
    draft.state = lambda message: replace(message, policy=neighbour)
    verdict = replace(gate(draft), registry=state).judge(draft.reply(), frozenset())
    assert verdict == Refusal(Reason.NO_CONSENT, draft.signer.address)


def test_a_key_outside_its_window_signs_nothing() -> None:
    windows: list[dict[str, Any]] = [{"valid_from": 1_900_000_000}, {"valid_until": 1_800_003_700}]
    for window in windows:
        draft = genuine()
        state = RegistryView(draft.federation.ledger).current()
        state.devices[draft.signer.address] = replace(state.devices[draft.signer.address], **window)
        verdict = replace(gate(draft), registry=state).judge(draft.reply(), frozenset())
        assert verdict == Refusal(Reason.KEY_NOT_VALID, draft.signer.address)


def test_a_registered_key_outside_the_cohort_has_no_part_in_the_run() -> None:
    draft = genuine()
    manifest = draft.federation.plan.manifest
    others = tuple(each for each in manifest.cohort if each.client != draft.signer.address)
    verdict = replace(gate(draft), manifest=replace(manifest, cohort=others)).judge(draft.reply(), frozenset())
    assert verdict == Refusal(Reason.NO_CONSENT, draft.signer.address)


def test_every_reason_of_a_reply_has_an_attack_here() -> None:
    attacked = {reason for reason, _, _ in ATTACKS}
    assert set(Reason) - attacked == {Reason.DUPLICATE, Reason.ROUND_ABORTED}


# ------------------------------------------------------------------ precedence


PRECEDENCE: list[tuple[Reason, str]] = [
    (Reason.BAD_SIGNATURE, "foreign key"),
    (Reason.OTHER_RUN, "another run"),
    (Reason.OTHER_LEDGER, "another chain"),
    (Reason.OTHER_ROUND, "next round"),
    (Reason.OTHER_BASE_MODEL, "another base"),
    (Reason.PAST_DEADLINE, "another deadline"),
    (Reason.KEY_NOT_VALID, "revoked key"),
    (Reason.OTHER_CONFIGURATION, "other code"),
    (Reason.NO_CONSENT, "another policy"),
    (Reason.PRIVACY_MISSTATED, "fewer steps"),
    (Reason.PAYLOAD_MISMATCH, "altered"),
    (Reason.OTHER_ENCODING, "fewer fraction bits"),
    (Reason.OTHER_WEIGHT, "weight one more"),
    (Reason.NORM_ABOVE_BOUND, "norm above the bound"),
]


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(PRECEDENCE, 2)))
def test_of_two_faults_the_earlier_class_is_the_reason(first: tuple[Reason, str], second: tuple[Reason, str]) -> None:
    draft = genuine()
    for reason, name in (second, first):
        (attack,) = (attack for kind, known, attack in ATTACKS if (kind, known) == (reason, name))
        attack(draft)
    assert refusal(draft).reason is first[0]


@pytest.mark.parametrize(("reason", "name"), PRECEDENCE)
def test_a_duplicate_comes_after_the_key_and_before_the_configuration(reason: Reason, name: str) -> None:
    draft = genuine()
    (attack,) = (attack for kind, known, attack in ATTACKS if (kind, known) == (reason, name))
    attack(draft)
    earlier = [each for each, _ in PRECEDENCE[:7]]
    expected = reason if reason in earlier else Reason.DUPLICATE
    assert refusal(draft, frozenset([draft.signer.address])).reason is expected


def test_every_reason_has_its_own_words() -> None:
    assert len({reason.words for reason in Reason}) == len(Reason)
    assert sorted(Reason) == list(range(1, 34))


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


# ------------------------------------------------------------------ anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EDITS = st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=3), st.integers(0, 8)), min_size=1, max_size=4)


def edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """Replace some bytes at each place by others."""
    for place, others, length in edits:
        start = place % (len(data) + 1)
        data = data[:start] + others + data[start + length :]
    return data


@functools.cache
def standing_gate() -> tuple[Draft, Gate]:
    draft = genuine()
    return draft, gate(draft)


@given(
    header=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()), payload=st.binary(max_size=99)
)
def test_garbage_is_refused_and_never_raises(header: bytes, payload: bytes) -> None:
    _, judge = standing_gate()
    assert judge.judge(Reply(1, 1, header, payload, ""), frozenset()) == Refusal(Reason.MALFORMED, NOBODY)


@pytest.mark.parametrize("rank", [9, 64, 65, 500, 5_000])
@pytest.mark.parametrize("size", [1, 2**31 - 1])
def test_a_tensor_of_many_dimensions_is_refused_at_once(rank: int, size: int) -> None:
    draft = genuine()
    draft.carry(safetensors([("bias", "I32", [size] * rank, bytes(8)), ("weight", "I32", [2, 2], bytes(16))]))
    assert refusal(draft).reason in {Reason.OTHER_SHAPE, Reason.NOT_CANONICAL}


@pytest.mark.parametrize("depth", [100, 900, 990, 5_000, 100_000])
@pytest.mark.parametrize("brackets", [b"[]", b'{"a":}'])
def test_nested_garbage_is_refused_and_never_raises(depth: int, brackets: bytes) -> None:
    half = len(brackets) - 1
    header = brackets[:half] * depth + b"1" + brackets[half:] * depth
    verdict = standing_gate()[1].judge(Reply(1, 1, header, b"", ""), frozenset())
    assert verdict == Refusal(Reason.MALFORMED, NOBODY)


@given(edits=EDITS)
def test_an_altered_statement_is_refused_and_never_raises(edits: list[tuple[int, bytes, int]]) -> None:
    draft, judge = standing_gate()
    reply = draft.reply()
    header = edited(reply.header, edits)
    verdict = judge.judge(replace(reply, header=header), frozenset())
    assert isinstance(verdict, Refusal) or header == reply.header


NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 2**32 - 1, 2**64 - 1])
PARAMETERS = st.fixed_dictionaries(
    {},
    optional={
        each.name: NUMBERS if each.type == "int" else st.text(st.characters(codec="utf-8"), max_size=9)
        for each in fields(DpParams)
    },
)


@given(parameters=PARAMETERS)
def test_a_signed_statement_with_any_parameters_never_raises(parameters: dict[str, Any]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    draft.dp = replace(draft.dp, **parameters)
    verdict = judge.judge(draft.reply(), frozenset())
    assert isinstance(verdict, Admission) or verdict.reason in {Reason.PRIVACY_MISSTATED, Reason.GRANT_EXCEEDED}


@given(payload=st.binary(max_size=200) | EDITS)
def test_a_signed_payload_of_any_bytes_never_raises(payload: bytes | list[tuple[int, bytes, int]]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    update = payload if isinstance(payload, bytes) else edited(draft.envelope.update, payload)
    draft.carry(update)
    verdict = judge.judge(draft.reply(), frozenset())
    assert isinstance(verdict, Refusal) or verdict.tensors.keys() == {"bias", "weight"}


@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(["bias", "weight", "", "__metadata__", "\ud800"]),
            st.sampled_from(["I32", "F32", "F64", "F16", "BOOL", "C64", "I64", "STR", ""]),
            st.lists(st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**70]), max_size=3),
            st.binary(max_size=16),
        ),
        max_size=3,
    )
)
def test_a_signed_update_with_any_header_never_raises(entries: list[tuple[str, str, list[int], bytes]]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    draft.carry(safetensors(entries))
    assert isinstance(judge.judge(draft.reply(), frozenset()), Admission | Refusal)
