"""The admission gate: every class of hostile update is refused for its own reason, in a fixed order of precedence."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from fedchain.core import document
from fedchain.core.rejection import Reason
from fedchain.core.task import UpdateHeader
from fedchain.workflow.gate import NOBODY, Admission, Refusal, privacy_refusal
from fedchain.workflow.registry_view import RegistryView
from tests.scenarios.federation import Setup
from tests.workflow.drafts import NODE, Draft, gate, genuine
from tests.workflow.hostile import ATTACKS, OTHER, Attack

ANONYMOUS = {Reason.BAD_SIGNATURE, Reason.MALFORMED, Reason.NEGATIVE_WEIGHT}
CASES = [
    pytest.param(reason, attack, id=f"{reason:02d} {reason.name.lower()}: {name}") for reason, name, attack in ATTACKS
]


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
    header = document.from_bytes(UpdateHeader, draft.reply().header)
    for policy, reason in ((member.policy, None), (strict, Reason.GRANT_EXCEEDED)):
        assert privacy_refusal(header, draft.task.training, member.nominal_size, policy) == reason


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
    elsewhere = {Reason.DUPLICATE, Reason.ROUND_ABORTED}
    of_encrypted_runs = {Reason.CANNOT_BE_OPENED, Reason.NOT_ENCRYPTED}  # tests/workflow/test_gate_opens_payloads.py
    of_populations = {Reason.OTHER_CLIENTS}  # tests/core/test_population.py, tests/scenarios/test_populations.py
    assert set(Reason) - attacked == elsewhere | of_encrypted_runs | of_populations


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
    assert sorted(Reason) == list(range(1, 38))
