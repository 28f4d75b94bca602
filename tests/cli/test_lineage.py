from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import pytest

from fedchain.cli.arguments import Pins
from fedchain.cli.exits import Exit
from fedchain.cli.lineage import CLAIMS, LineageOptions, lineage
from fedchain.core.errors import InputError
from fedchain.core.lineage import (
    Claim,
    ClaimLevel,
    CountedVote,
    DonatedRows,
    Finding,
    Lineage,
    Release,
    Ruling,
    Taint,
    Verdict,
)
from fedchain.core.messages import UNBOUNDED
from fedchain.workflow.audit_report import STATEMENTS
from tests.cli import samples
from tests.cli.samples import FINDING, HOSTILE, OTHER_RUN, RUN, link, screen


@dataclass(frozen=True)
class Verifier:
    """Stands in for the verification: returns the outcome it was made with."""

    outcome: Lineage

    def __call__(
        self, _home: Path, *, run: str | None, heads: tuple[str, ...], trust: Path | None, scrub: bool
    ) -> Lineage:
        assert (run, heads, trust, scrub) == (None, (), None, False)
        return self.outcome


UNPINNED = samples.lineage(Verdict.SELF_CONSISTENT)


def told(outcome: Lineage, model: str = "") -> tuple[Exit, str]:
    shown, out, _ = screen()
    code = lineage(LineageOptions(Path("home"), model, Pins((), None)), shown, Verifier(outcome))
    return code, out.getvalue()


def document(outcome: Lineage, model: str = "") -> dict[str, object]:
    shown, out, _ = screen(as_json=True)
    lineage(LineageOptions(Path("home"), model, Pins((), None)), shown, Verifier(outcome))
    loaded: dict[str, object] = json.loads(out.getvalue())
    return loaded


def rounds_of(found: dict[str, object]) -> list[int]:
    lines = found["lineage"]
    assert isinstance(lines, list)
    return [each["round"] for each in lines]


@pytest.mark.parametrize(
    ("verdict", "code"), [(Verdict.VERIFIED, 0), (Verdict.FINDINGS, 1), (Verdict.SELF_CONSISTENT, 3)]
)
def test_the_exit_code_is_that_of_the_verification(verdict: Verdict, code: int) -> None:
    findings = (FINDING,) if verdict is Verdict.FINDINGS else ()
    assert told(samples.lineage(verdict, findings=findings))[0] == code


def test_the_newest_model_is_shown_by_default() -> None:
    found = document(UNPINNED)
    assert found["model"] == {
        "cid": link(RUN, 4).model_cid,
        "digest": "0x" + link(RUN, 3).model_digest,
        "run": "0x" + RUN,
    }
    assert rounds_of(found) == [1, 2, 3, 4]


@pytest.mark.parametrize("prefix", ["", "0x"])
def test_a_model_is_found_by_its_digest_and_shown_up_to_its_round(prefix: str) -> None:
    assert rounds_of(document(UNPINNED, prefix + link(RUN, 2).model_digest)) == [1, 2]


def test_a_model_is_found_by_its_cid_in_its_own_run() -> None:
    found = document(UNPINNED, link(OTHER_RUN, 1).model_cid)
    assert rounds_of(found) == [1]
    model = found["model"]
    assert isinstance(model, dict)
    assert model["run"] == "0x" + OTHER_RUN


@pytest.mark.parametrize("model", ["bafynothing", "0x" + "99" * 32, RUN[:6], HOSTILE])
def test_a_model_that_the_record_does_not_have_is_refused(model: str) -> None:
    with pytest.raises(InputError, match="expected a CID or model digest of this record"):
        told(UNPINNED, model)


def test_an_empty_record_shows_nothing_and_is_not_verified() -> None:
    code, text = told(Lineage(Verdict.SELF_CONSISTENT, (), (), (), ()))
    assert code == Exit.UNPINNED
    assert "No round could be verified." in text
    assert document(Lineage(Verdict.SELF_CONSISTENT, (), (), (), ()))["model"] is None


def test_rounds_contributors_datasets_weights_privacy_and_rejections_are_there() -> None:
    _, text = told(UNPINNED)
    for words in (
        "sealed",
        "closed",
        "0xaaaa..aaaa",
        "0xcccc..cccc",
        "303",
        "7.655",
        "9.001",
        "6: a float array of NaN",
    ):
        assert words in text
    assert f"Round hash  0x{'04' * 32}" in text
    assert "0x0303..0303" in text


def test_every_item_says_how_strongly_it_holds() -> None:
    assert document(UNPINNED)["levels"] == {
        "models": "re-derived",
        "round hashes": "anchored",
        "contributions": "signed",
        "organisations": "self-reported",  # the verifier claimed nothing of them
        "epsilon": "re-derived",
        "lifetime epsilon": "signed",
        "rejections": "self-reported",
        "donated rows": "self-reported",
        "withdrawn datasets": "self-reported",
        "release states": "self-reported",
        "approvals": "self-reported",
    }


def test_donated_rows_are_called_so_and_shown_by_client() -> None:
    paying = replace(link(RUN, 1), donated=(DonatedRows("aa" * 20, 20), DonatedRows("bb" * 20, 3)))
    outcome = replace(UNPINNED, rounds=(paying,))
    _, text = told(outcome)
    assert "Donated rows" in text
    assert "readable for all who verify, excluded from training" in text
    (shown,) = cast("list[dict[str, object]]", document(outcome)["lineage"])
    assert shown["donated"] == {f"0x{'aa' * 20}": 20, f"0x{'bb' * 20}": 3}
    assert "Donated" not in told(UNPINNED)[1]
    _, text = told(UNPINNED)
    assert "Rounds (models: re-derived; round hashes: anchored; contributions: signed;" in text
    assert "organisations: self-reported; epsilon: re-derived; lifetime epsilon: signed)" in text
    assert "Rejected replies (rejections: self-reported)" in text


def test_a_failed_claim_is_never_shown_as_holding() -> None:
    outcome = samples.lineage(Verdict.FINDINGS, findings=(FINDING,))
    levels = document(outcome)["levels"]
    assert isinstance(levels, dict)
    assert levels["models"] == "finding"
    assert "Rounds (models: finding;" in told(outcome)[1]
    registry = Finding("", 0, "chain", ClaimLevel.ANCHORED, "a", "b")
    levels = document(samples.lineage(Verdict.FINDINGS, findings=(registry,)))["levels"]
    assert isinstance(levels, dict)
    assert levels["round hashes"] == "finding"


def test_a_finding_of_another_run_does_not_taint_this_one() -> None:
    other = replace(FINDING, run=OTHER_RUN)
    levels = document(samples.lineage(Verdict.FINDINGS, findings=(other,)))["levels"]
    assert isinstance(levels, dict)
    assert levels["models"] == "re-derived"


def test_the_claims_behind_the_items_are_the_verifiers() -> None:
    assert set(CLAIMS.values()) <= set(STATEMENTS)


def test_an_unbounded_epsilon_is_null_and_named() -> None:
    part = replace(samples.CONTRIBUTION, run_micro_epsilon=UNBOUNDED, micro_epsilon_total=UNBOUNDED)
    outcome = replace(UNPINNED, rounds=(replace(link(RUN, 1), contributions=(part,)),))
    shown = document(outcome)["lineage"]
    assert isinstance(shown, list)
    assert shown[0]["contributions"][0]["epsilon"] is None
    assert "unbounded" in told(outcome)[1]


def test_hostile_strings_cannot_steer_the_terminal() -> None:
    part = replace(samples.CONTRIBUTION, client=HOSTILE, organisation=HOSTILE, dataset=HOSTILE)
    hostile = replace(link(RUN, 1), kind=HOSTILE, model_cid=HOSTILE, contributions=(part,), rejections=(HOSTILE,))
    _, text = told(replace(UNPINNED, rounds=(hostile,)))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_tainted_rounds_are_shown_with_the_dataset_and_since_when() -> None:
    assert "Withdrawn datasets" not in told(UNPINNED)[1]
    taint = Taint("d1" * 32, 1_800_000_000)
    tainted = replace(UNPINNED, rounds=(link(RUN, 1), replace(link(RUN, 2), taints=(taint,))))
    code, text = told(tainted)
    assert (code, "Withdrawn datasets (withdrawn datasets: " in text) == (3, True)
    assert "d1d1d1" in text.partition("Withdrawn datasets")[2]
    found = cast("list[dict[str, object]]", document(tainted)["lineage"])
    assert [each["taints"] for each in found] == [[], [{"dataset": "0x" + "d1" * 32, "since": 1_800_000_000}]]


VOTE = CountedVote("a1" * 20, "b1" * 32, "clinical", 1_800_000_000, 1_831_536_000, "", "approve version 0x01")
RULING = Ruling("approve", 1_800_000_060, "c1" * 32, ClaimLevel.SIGNED, (VOTE,))
RELEASE = Release(
    "d1" * 32, link(RUN, 3).model_digest, "e1" * 32, "f1" * 32, (), "approved", 1_800_000_060, 1_831_536_000, (RULING,)
)


def test_a_registered_model_is_shown_with_its_state_and_who_approved_it_until_when() -> None:
    claims = (*UNPINNED.claims, Claim("release", ClaimLevel.ANCHORED, "steps", 5))
    found = replace(UNPINNED, claims=claims, releases=(RELEASE, replace(RELEASE, version="d2" * 32, model="99" * 32)))
    _, text = told(found)
    assert "Releases (release states: anchored)" in text
    for shown in ("0xd1d1..d1d1", "approved", "clinical 0xa1a1..a1a1", "2027-01-15", "2028-01-15", "signed"):
        assert shown in text
    assert "0xd2d2" not in text, "another model's"
    assert "no pinned head covers the registry of models" in text
    (release,) = cast("list[dict[str, object]]", document(found)["releases"])
    assert release["version"] == "0x" + "d1" * 32
    (decision,) = cast("list[dict[str, object]]", release["decisions"])
    assert decision["level"] == "signed"
    (vote,) = cast("list[dict[str, object]]", decision["votes"])
    assert (vote["role"], vote["sentence"], vote["evidence"]) == ("clinical", "approve version 0x01", None)


def test_a_decision_without_its_votes_says_that_only_the_registry_stands_for_it() -> None:
    bare = replace(RULING, level=ClaimLevel.ANCHORED, votes=())
    _, text = told(replace(UNPINNED, releases=(replace(RELEASE, rulings=(bare,)),)))
    assert "registry's word" in text.replace("\n", " ")
    assert "anchored" in text


def test_a_model_that_nobody_registered_has_no_releases() -> None:
    assert "Releases" not in told(UNPINNED)[1]
    assert document(UNPINNED)["releases"] == []
