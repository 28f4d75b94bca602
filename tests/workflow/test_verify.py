"""The verifier over a federation in memory: what it says of an honest record, and against which heads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import ClaimLevel, Verdict
from fedchain.core.trust import TrustFile
from fedchain.workflow.audit_report import SELF_REPORTED, STATEMENTS
from fedchain.workflow.summarise import trust_file
from tests.scenarios.federation import IDENTITY, Setup, federation
from tests.workflow.forgery import damage, finished, lose

OTHER_SALT = b"\x0b" * 32


def both(one: TrustFile, other: TrustFile) -> TrustFile:
    return trust_file(IDENTITY, [*one.pins, *other.pins])


# ------------------------------------------------------------------ an honest record


def test_an_honest_record_is_self_consistent_and_verified_against_a_pinned_head() -> None:
    new = finished()
    assert (new.verify().verdict, new.verify().findings) == (Verdict.SELF_CONSISTENT, ())
    lineage = new.verify(trust=new.trust(), scrub=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())
    assert lineage.pinned == (f"run 0x{new.plan.manifest.run.hex()} up to round 3",)


def test_every_claim_counts_what_was_checked_at_its_level() -> None:
    new = finished()
    claims = {claim.name: (claim.level, claim.instances) for claim in new.verify(trust=new.trust()).claims}
    assert claims == {
        "model": (ClaimLevel.REDERIVED, 2),
        "payload": (ClaimLevel.REDERIVED, 6),
        "privacy": (ClaimLevel.REDERIVED, 6),
        "chain": (ClaimLevel.ANCHORED, 3),
        "registry": (ClaimLevel.ANCHORED, 12),
        "manifest": (ClaimLevel.ANCHORED, 3),
        "configuration": (ClaimLevel.ANCHORED, 1),
        "rejection": (ClaimLevel.ANCHORED, 1),
        "update": (ClaimLevel.SIGNED, 6),
        "consent": (ClaimLevel.SIGNED, 9),
        "receipt": (ClaimLevel.ATTESTED, 9),
        "data": (ClaimLevel.SELF_REPORTED, 0),
        "noise": (ClaimLevel.SELF_REPORTED, 0),
        "hardware": (ClaimLevel.SELF_REPORTED, 0),
    }


def test_updates_without_privacy_are_counted_apart_and_never_as_privacy() -> None:
    new = finished(Setup(epsilon=None))
    claims = {claim.name: claim for claim in new.verify().claims}
    assert "privacy" not in claims
    assert claims["unprotected"].instances == 6
    assert "WITHOUT" in claims["unprotected"].statement


def test_what_nobody_can_check_is_listed_as_somebodys_word() -> None:
    assert finished().verify().claims[-3:] == SELF_REPORTED
    assert {claim.level for claim in SELF_REPORTED} == {ClaimLevel.SELF_REPORTED}
    assert ClaimLevel.SELF_REPORTED not in {level for level, _ in STATEMENTS.values()}


def test_the_lineage_names_every_round_with_its_contributions_and_rejections() -> None:
    new = finished()
    first, second, last = new.verify().rounds
    assert [each.kind for each in (first, second, last)] == ["sealed", "sealed", "closed"]
    assert [each.round for each in (first, second, last)] == [1, 2, 3]
    assert first.rejections == ("27: statement is not a canonical document",)
    assert (second.rejections, last.contributions) == ((), ())
    for shown, event in zip((first, second, last), new.links(), strict=True):
        assert (shown.run, shown.round_hash) == (new.plan.manifest.run.hex(), event.round_hash.hex())
        assert (shown.base_model, shown.model_digest) == (event.link.base_model.hex(), event.link.model_digest.hex())
        assert shown.model_cid == new.manifest(event.link.round).model.cid
    members = {each.device.address.hex(): each.applicant for each in new.members}
    for contribution in second.contributions:
        member = members[contribution.client]
        assert (contribution.organisation, contribution.dataset) == (member.organisation.hex(), member.dataset.hex())
        assert contribution.weight == member.nominal_size
        assert (contribution.run_micro_epsilon, contribution.micro_epsilon_total) == (4_000_000, 4_000_000)


def test_a_ledger_without_runs_is_self_consistent_and_never_verified() -> None:
    new = federation(Setup(sites=2))
    lineage = new.verify(trust=trust_file(IDENTITY, []))
    assert (lineage.verdict, lineage.rounds) == (Verdict.SELF_CONSISTENT, ())


def test_the_aborted_rounds_of_a_run_are_part_of_its_lineage() -> None:
    new = federation(Setup(rounds=1, timeout_s=60, min_clients=3))
    new.cohort.order = [1]
    with pytest.raises(PolicyError):
        new.run()
    new.cohort.order = None
    new.run()
    lineage = new.verify(trust=new.trust())
    assert [each.kind for each in lineage.rounds] == ["aborted", "sealed", "closed"]
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


# ------------------------------------------------------------------ one run of several


def test_a_run_is_verified_by_itself_and_all_runs_only_where_each_is_pinned() -> None:
    first = finished()
    second = first.another_run(OTHER_SALT)
    second.run()
    mine, others = first.trust(), second.trust()
    assert first.verify(run=first.plan.manifest.run, trust=mine).verdict is Verdict.VERIFIED
    assert first.verify(run=second.plan.manifest.run, trust=mine).verdict is Verdict.SELF_CONSISTENT
    assert first.verify(trust=mine).verdict is Verdict.SELF_CONSISTENT
    assert first.verify(trust=both(mine, others)).verdict is Verdict.VERIFIED
    assert {each.run for each in first.verify(run=second.plan.manifest.run).rounds} == {second.plan.manifest.run.hex()}


def test_a_run_that_nobody_recorded_is_an_input_error() -> None:
    with pytest.raises(InputError, match="a run of this ledger"):
        finished().verify(run=OTHER_SALT)


def test_a_finding_in_one_run_does_not_hide_behind_the_choice_of_another() -> None:
    first = finished()
    second = first.another_run(OTHER_SALT)
    second.run()
    (event,) = [each for each in second.links() if each.link.round == 2]
    first.record.events.remove(event)
    lineage = first.verify(run=first.plan.manifest.run, trust=first.trust())
    assert lineage.verdict is Verdict.FINDINGS
    assert {(each.run, each.claim) for each in lineage.findings} == {(second.plan.manifest.run.hex(), "chain")}


# ------------------------------------------------------------------ pinned heads


def test_the_newest_head_pins_a_run_and_an_older_one_does_not() -> None:
    new = finished()
    hashes = [event.round_hash for event in new.links()]
    assert new.verify(heads=[hashes[2]]).verdict is Verdict.VERIFIED
    older = new.verify(heads=hashes[:2])
    assert (older.verdict, older.findings) == (Verdict.SELF_CONSISTENT, ())
    assert older.pinned == (f"run 0x{new.plan.manifest.run.hex()} up to round 2",)


def test_rounds_after_the_pin_are_self_consistent() -> None:
    new = finished()
    trust = new.trust()
    until_two = replace(trust, pins=tuple(pin for pin in trust.pins if pin.round < 3))
    lineage = new.verify(trust=until_two)
    assert (lineage.verdict, lineage.findings) == (Verdict.SELF_CONSISTENT, ())
    assert new.verify(trust=until_two, heads=[new.links()[2].round_hash]).verdict is Verdict.VERIFIED


def test_an_unknown_head_is_a_finding_even_beside_a_known_one() -> None:
    new = finished()
    lineage = new.verify(heads=[new.links()[2].round_hash, b"\x66" * 32])
    assert lineage.verdict is Verdict.FINDINGS
    (finding,) = lineage.findings
    assert (finding.claim, finding.round) == ("chain", 0)
    assert finding.expected == "a round with hash 0x" + "66" * 32


def test_findings_come_before_any_pin() -> None:
    new = finished()
    damage(new, new.manifest(1).model.cid)
    assert new.verify(trust=new.trust()).verdict is Verdict.FINDINGS


# ------------------------------------------------------------------ --all


def test_a_scrub_reads_what_no_record_names() -> None:
    new = finished()
    idle = new.store.put(b"nobody names this")
    assert "artifact" not in {claim.name for claim in new.verify().claims}
    claims = {claim.name: claim.instances for claim in new.verify(scrub=True).claims}
    named_by_no_record = claims["artifact"]
    new.store.artifacts[idle] = b"something else"
    assert new.verify().findings == ()
    lineage = new.verify(scrub=True)
    assert lineage.verdict is Verdict.FINDINGS
    (finding,) = lineage.findings
    assert (finding.claim, finding.round, finding.expected) == ("artifact", 0, idle.text)
    lose(new, idle.text)
    claims = {claim.name: claim.instances for claim in new.verify(scrub=True).claims}
    assert claims.get("artifact", 0) == named_by_no_record - 1
