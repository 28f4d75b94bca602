"""One link: each thing that its manifest, updates, payloads, consents and models can get wrong is its own finding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedchain.core import document
from fedchain.core.eip712 import signing_digest
from fedchain.core.lineage import Verdict
from fedchain.core.manifest import ArtifactRef, RoundManifest, RunManifest
from fedchain.core.messages import UNBOUNDED, ConsentWithdraw, RegistryMessage, RevokeDevice
from fedchain.core.record import LinkKind
from fedchain.core.registry import RegistryState
from fedchain.core.tensors import encode, model_digest
from fedchain.ports.ledger import RegistryEvent
from tests.scenarios.federation import IDENTITY, Federation, Setup
from tests.workflow.forgery import (
    damage,
    finished,
    lose,
    reaccept,
    relink,
    repay,
    repin,
    reseal,
    restate,
    rewrite,
    rewrite_plan,
)

OTHER = b"\x0f" * 32

Act = Callable[[Federation], None]


def round_two(change: Callable[[RoundManifest], RoundManifest]) -> Act:
    return lambda new: rewrite(new, 2, change)


def plan(change: Callable[[RunManifest], RunManifest]) -> Act:
    return lambda new: rewrite_plan(new, change)


def of_another_run(new: Federation) -> None:
    """Name another manifest in the rounds of the run that the sites signed for."""
    cid = new.store.put(document.to_bytes(replace(new.plan.manifest, salt=OTHER))).text
    for event in new.links():
        rewrite(new, event.link.round, lambda manifest: replace(manifest, run_manifest=cid))


def manifest_cid(new: Federation, round_: int = 2) -> str:
    (event,) = [each for each in new.links() if each.link.round == round_]
    return next(cid.text for cid in new.store.artifacts if cid.digest == event.link.manifest_digest)


def payload_cid(new: Federation) -> str:
    return new.manifest(2).accepted[0].payload_cid


def stored(new: Federation, data: bytes) -> ArtifactRef:
    return ArtifactRef(new.store.put(data).text, model_digest(data))


def other_model(new: Federation) -> None:
    """Seal a model in round 2 that the updates do not add up to, stored and named as it should be."""
    model = stored(new, encode({"bias": np.zeros(2, "<i4"), "weight": np.zeros((2, 2), "<i4")}))
    rewrite(new, 2, lambda manifest: replace(manifest, model=model))


def other_base(new: Federation) -> None:
    model = stored(new, encode({"bias": np.zeros(2, "<i4"), "weight": np.zeros((2, 2), "<i4")}))
    rewrite(new, 2, lambda manifest: replace(manifest, base_model=model))


def moved_while_closing(new: Federation) -> None:
    first = new.manifest(1).model
    rewrite(new, 3, lambda manifest: replace(manifest, model=first))


def doubled(new: Federation) -> None:
    """Accept a second update that the first site signed for round 2."""
    (first,) = [each for each in new.manifest(2).accepted if each.header.message.weight == 100]
    message = replace(first.header.message, update_commit=OTHER)
    signature = new.members[0].device.sign(signing_digest(IDENTITY.rounds, message))
    second = replace(first, header=replace(first.header, message=message, signature=signature))
    rewrite(new, 2, lambda manifest: replace(manifest, accepted=(*manifest.accepted, second)))


def act_before_round_one(action: Callable[[Federation], RegistryMessage]) -> Act:
    """Record an action of the first site before the first link, and seal all that follows anew."""

    def act(new: Federation) -> None:
        message = action(new)
        signature = new.members[0].admin.sign(signing_digest(IDENTITY.registry, message))
        at = new.manifest(1).opened_at
        new.record.events.insert(12, RegistryEvent(message, signature, at, b""))
        reseal(new)
        repin(new)

    return act


def decided_by(change: Callable[[Federation], bytes]) -> Act:
    """Let round 2 say that it was decided by another head of the registry."""
    return lambda new: rewrite(new, 2, lambda each: replace(each, registry_head=change(new)))


def head_after_the_seal(new: Federation) -> bytes:
    new.revoke_device(0)
    return new.ledger.registry_head()


def head_before_the_grants(new: Federation) -> bytes:
    state = RegistryState()
    for event in new.record.events[:3]:
        assert isinstance(event, RegistryEvent)
        state.apply(event.message, event.at)
    return state.head


def granting(**changes: object) -> Act:
    return act_before_round_one(
        lambda new: replace(new.grant_of(0), nonce=4, **changes)  # type: ignore[arg-type]
    )


def raw(change: Callable[[bytes], bytes]) -> Act:
    """Have the first site sign other bytes as its update of round 2."""
    return lambda new: repay(new, 2, 0, lambda envelope: replace(envelope, update=change(envelope.update)))


CASES: list[tuple[str, int, str, Act]] = [
    # the manifest
    ("manifest", 2, "is missing", lambda new: lose(new, manifest_cid(new))),
    ("manifest", 2, "is damaged", lambda new: damage(new, manifest_cid(new))),
    ("manifest", 2, "is no manifest", lambda new: relink(new, 2, manifest_digest=new.store.put(b"{}").digest)),
    ("manifest", 2, "of another federation", round_two(lambda each: replace(each, federation=OTHER))),
    ("manifest", 2, "of another run", round_two(lambda each: replace(each, run=OTHER))),
    ("manifest", 2, "of another format", round_two(lambda each: replace(each, format="fedchain/round/9"))),
    ("manifest", 2, "of another round",
     lambda new: relink(new, 2, manifest_digest=new.links()[0].link.manifest_digest)),
    ("manifest", 2, "with another model", lambda new: relink(new, 2, model_digest=OTHER)),
    ("manifest", 2, "that counts fewer", lambda new: relink(new, 2, accepted=2)),
    ("manifest", 1, "that counts no rejection", lambda new: relink(new, 1, rejected=0)),
    ("manifest", 2, "with a reason to abort", round_two(lambda each: replace(each, reason="cohort-too-small"))),
    ("manifest", 2, "opened at another time", round_two(lambda each: replace(each, opened_at=each.opened_at - 9))),
    ("chain", 2, "another tree of updates", lambda new: relink(new, 2, updates_root=OTHER)),
    ("chain", 1, "another tree of rejections", lambda new: relink(new, 1, rejected_root=OTHER)),
    # the run's manifest
    ("configuration", 1, "is missing", lambda new: lose(new, new.plan.manifest_cid)),
    ("configuration", 1, "is damaged", lambda new: damage(new, new.plan.manifest_cid)),
    ("configuration", 1, "of another run", of_another_run),
    ("configuration", 1, "of another federation", plan(lambda each: replace(each, federation=OTHER))),
    ("configuration", 1, "of another format", plan(lambda each: replace(each, format="fedchain/run/9"))),
    ("configuration", 1, "of another profile", plan(lambda each: replace(each, profile="unixfs"))),
    ("configuration", 1, "that lowers the cohort", plan(lambda each: replace(each, min_clients=1))),
    ("configuration", 1, "that lifts the bound", plan(lambda each: replace(each, max_update_norm_e6=10**9))),
    ("configuration", 1, "in no encoding", plan(lambda each: replace(each, fraction_bits=99))),
    ("configuration", 1, "with other training",
     plan(lambda each: replace(each, training=replace(each.training, epochs=9)))),
    ("configuration", 1, "with another tensor", plan(lambda each: replace(each, tensors=each.tensors[:1]))),
    ("configuration", 1, "with other code", plan(lambda each: replace(each, code_digest=OTHER))),
    ("configuration", 1, "with another environment", plan(lambda each: replace(each, env_digest=OTHER))),
    ("configuration", 1, "the configuration is missing", lambda new: lose(new, new.plan.manifest.config.cid)),
    ("configuration", 1, "the configuration is damaged", lambda new: damage(new, new.plan.manifest.config.cid)),
    ("configuration", 1, "another digest of it",
     plan(lambda each: replace(each, config=replace(each.config, digest=OTHER)))),
    ("configuration", 1, "a policy is missing", lambda new: lose(new, new.plan.manifest.cohort[0].policy.cid)),
    ("configuration", 2, "another plan in one round",
     lambda new: rewrite(new, 2, lambda each: replace(each, run_manifest=manifest_cid(new, 1)))),
    # who signed what
    ("update", 2, "a foreign key",
     lambda new: reaccept(new, 2, 0, lambda each: replace(each, header=replace(each.header, signature=bytes(65))))),
    ("update", 2, "in another domain",
     lambda new: reaccept(new, 2, 0, lambda each: replace(each, header=replace(each.header, chain_id=1)))),
    ("update", 2, "for another round", lambda new: restate(new, 2, 0, lambda each: replace(each, round=1))),
    ("update", 2, "for another run", lambda new: restate(new, 2, 0, lambda each: replace(each, run=OTHER))),
    ("update", 2, "for another base", lambda new: restate(new, 2, 0, lambda each: replace(each, base_model=OTHER))),
    ("update", 2, "for another attempt", lambda new: restate(new, 2, 0, lambda each: replace(each, nonce=2))),
    ("update", 2, "for another deadline", lambda new: restate(new, 2, 0, lambda each: replace(each, deadline=1))),
    ("update", 2, "with another weight", lambda new: restate(new, 2, 0, lambda each: replace(each, weight=1))),
    ("update", 2, "with no weight", lambda new: restate(new, 2, 0, lambda each: replace(each, weight=0))),
    ("update", 1, "with a revoked key",
     act_before_round_one(lambda new: RevokeDevice(new.members[0].device.address, new.manifest(1).opened_at, 4))),
    ("configuration", 2, "under other code",
     lambda new: restate(new, 2, 0, lambda each: replace(each, code_digest=OTHER))),
    # the registry that it was decided by
    ("registry", 2, "a head that never was", decided_by(lambda _: OTHER)),
    ("registry", 2, "the head of a later registry", decided_by(head_after_the_seal)),
    ("registry", 2, "a head from before the round was opened", decided_by(head_before_the_grants)),
    # consents
    ("consent", 1, "was withdrawn before",
     act_before_round_one(
         lambda new: ConsentWithdraw(new.members[0].applicant.dataset, new.manifest(1).opened_at, 1, 4))),
    ("consent", 1, "to another policy", granting(policy=OTHER)),
    ("consent", 1, "to another grant", granting(micro_epsilon_grant=1)),
    ("consent", 1, "at another delta", granting(delta_e12=1)),
    ("consent", 1, "for another unit", granting(unit=OTHER)),
    ("consent", 1, "for another time", granting(from_=2**40, until=2**41)),
    ("consent", 2, "of no dataset", lambda new: restate(new, 2, 0, lambda each: replace(each, dataset=OTHER))),
    ("consent", 2, "another policy", lambda new: restate(new, 2, 0, lambda each: replace(each, policy=OTHER))),
    # privacy
    ("privacy", 2, "fewer steps", lambda new: restate(new, 2, 0, dp=lambda each: replace(each, steps=1))),
    ("privacy", 2, "unsigned", lambda new: restate(new, 2, 0, lambda each: replace(each, dp_params=OTHER))),
    ("privacy", 2, "unprotected in a private run",
     lambda new: restate(
         new, 2, 0, lambda each: replace(each, micro_epsilon_total=UNBOUNDED),
         lambda each: replace(each, mechanism="none", noise_multiplier_e6=0, run_micro_epsilon=UNBOUNDED))),
    ("privacy", 2, "beyond the grant",
     lambda new: restate(
         new, 2, 0, lambda each: replace(each, micro_epsilon_total=10_000_001),
         lambda each: replace(each, run_micro_epsilon=10_000_001))),
    # payloads
    ("payload", 2, "is missing", lambda new: lose(new, payload_cid(new))),
    ("payload", 2, "is damaged", lambda new: damage(new, payload_cid(new))),
    ("payload", 2, "of another round",
     lambda new: reaccept(new, 2, 0, lambda each: replace(each, payload_cid=new.manifest(1).accepted[0].payload_cid))),
    ("payload", 2, "another salt", lambda new: restate(new, 2, 0, lambda each: replace(each, update_commit=OTHER))),
    ("payload", 2, "no tensors", raw(lambda _: b"")),
    ("payload", 2, "other tensors", raw(lambda _: encode({"bias": np.zeros(2, "<i4")}))),
    ("payload", 2, "a norm above the bound",
     raw(lambda _: encode({"bias": np.full(2, 30 << 24, "<i4"), "weight": np.zeros((2, 2), "<i4")}))),
    ("payload", 2, "another encoding", lambda new: repay(new, 2, 0, lambda each: replace(each, fraction_bits=20))),
    # rejections
    ("rejection", 1, "a reason without a name",
     lambda new: rewrite(
         new, 1, lambda each: replace(each, rejected=(replace(each.rejected[0], reason=99),)))),
    ("rejection", 1, "the evidence is missing", lambda new: lose(new, new.manifest(1).rejected[0].evidence_cid)),
    ("rejection", 1, "the evidence is damaged", lambda new: damage(new, new.manifest(1).rejected[0].evidence_cid)),
    # models
    ("model", 2, "is missing", lambda new: lose(new, new.manifest(2).model.cid)),
    ("model", 2, "is damaged", lambda new: damage(new, new.manifest(2).model.cid)),
    ("model", 2, "is not the sum", other_model),
    ("model", 2, "does not start from the last", other_base),
    ("model", 3, "moved while closing", moved_while_closing),
    ("model", 2, "an update left out",
     round_two(lambda each: replace(each, accepted=each.accepted[1:]))),
    ("model", 2, "too few updates", round_two(lambda each: replace(each, accepted=each.accepted[:1]))),
    ("model", 2, "no update", round_two(lambda each: replace(each, accepted=()))),
    ("model", 2, "a link with another base", lambda new: relink(new, 2, base_model=OTHER)),
    ("update", 2, "two updates of one client", doubled),
    ("manifest", 2, "an aborted round with updates",
     round_two(lambda each: replace(each, kind=int(LinkKind.ABORTED), reason="x", model=each.base_model))),
]  # fmt: skip
"""(claim, round, what is wrong, how)."""


@pytest.mark.parametrize(
    ("claim", "round_", "act"),
    [pytest.param(claim, round_, act, id=f"{claim}: {what}") for claim, round_, what, act in CASES],
)
def test_a_fault_is_a_finding_of_its_round_under_its_claim(claim: str, round_: int, act: Act) -> None:
    new = finished()
    act(new)
    lineage = new.verify()
    assert lineage.verdict is Verdict.FINDINGS
    found = [(finding.claim, finding.round) for finding in lineage.findings]
    assert (claim, round_) in found, lineage.findings
    assert min(found_round for _, found_round in found) >= round_, "a fault says nothing of the rounds before it"
    assert {finding.run for finding in lineage.findings} == {new.plan.manifest.run.hex()}
    assert all(finding.expected and finding.got for finding in lineage.findings)


def test_every_claim_of_a_round_can_fail_here() -> None:
    assert {claim for claim, *_ in CASES} == {
        "manifest", "chain", "configuration", "registry", "update", "consent", "privacy", "payload", "rejection",
        "model",
    }  # fmt: skip


def test_one_fault_in_a_round_leaves_the_claims_of_the_others() -> None:
    new = finished()
    damage(new, payload_cid(new))
    lineage = new.verify()
    assert [each.round for each in lineage.rounds] == [1, 3]
    assert len(lineage.findings) == 1


def test_a_first_model_that_is_not_the_plans_is_found() -> None:
    new = finished()
    model = stored(new, encode({"bias": np.ones(2, "<i4"), "weight": np.ones((2, 2), "<i4")}))
    rewrite(new, 1, lambda manifest: replace(manifest, base_model=model))
    assert ("model", 1) in {(finding.claim, finding.round) for finding in new.verify().findings}


def test_an_envelope_that_is_none_is_found() -> None:
    new = finished()
    data = b"no envelope"
    cid = new.store.put(data)
    restate(new, 2, 0, lambda each: replace(each, payload_cid=cid.digest))
    reaccept(new, 2, 0, lambda each: replace(each, payload_cid=cid.text))
    (finding,) = new.verify().findings
    assert (finding.claim, finding.round, finding.expected) == ("payload", 2, "an envelope")


def test_a_manifest_with_a_cid_that_is_none_is_found() -> None:
    new = finished()
    rewrite(new, 2, lambda manifest: replace(manifest, model=replace(manifest.model, cid="model.bin")))
    assert ("model", 2) in {(finding.claim, finding.round) for finding in new.verify().findings}


def test_an_honest_record_names_every_artifact_of_the_run() -> None:
    new = finished(Setup(sites=2))
    lineage = new.verify(scrub=True)
    idle = {claim.name: claim.instances for claim in lineage.claims}.get("artifact", 0)
    assert idle == 0
