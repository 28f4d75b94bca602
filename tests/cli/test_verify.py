from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from fedchain.cli.arguments import Pins, pins_of
from fedchain.cli.exits import Exit
from fedchain.cli.verify import VerifyOptions, verify
from fedchain.core.errors import InputError
from fedchain.core.lineage import Claim, ClaimLevel, Finding, Lineage, Verdict
from tests.cli import samples
from tests.cli.samples import FINDING, HOSTILE, OTHER_RUN, RUN, row, screen

NO_PINS = Pins((), None)
OPTIONS = VerifyOptions(Path("home"), None, NO_PINS, scrub=False)
VERIFIED = samples.lineage(Verdict.VERIFIED, pinned=(f"run 0x{RUN} up to round 4",))
UNPINNED = samples.lineage(Verdict.SELF_CONSISTENT)
FAULTY = samples.lineage(Verdict.FINDINGS, findings=(FINDING,))


@dataclass
class Verifier:
    """Stands in for the verification: returns the outcome it was made with."""

    outcome: Lineage
    calls: list[tuple[Path, str | None, tuple[str, ...], Path | None, bool]] = field(default_factory=list)

    def __call__(
        self, home: Path, *, run: str | None, heads: tuple[str, ...], trust: Path | None, scrub: bool
    ) -> Lineage:
        self.calls.append((home, run, heads, trust, scrub))
        return self.outcome


def told(outcome: Lineage, options: VerifyOptions = OPTIONS) -> tuple[Exit, str]:
    shown, out, _ = screen()
    code = verify(options, shown, Verifier(outcome), lambda _: [row()])
    return code, out.getvalue()


def document(outcome: Lineage) -> dict[str, object]:
    shown, out, _ = screen(as_json=True)
    verify(OPTIONS, shown, Verifier(outcome), lambda _: [row()])
    loaded: dict[str, object] = json.loads(out.getvalue())
    return loaded


@pytest.mark.parametrize(("outcome", "code"), [(VERIFIED, 0), (FAULTY, 1), (UNPINNED, 3)])
def test_the_exit_code_is_the_verdict(outcome: Lineage, code: int) -> None:
    assert told(outcome)[0] == code
    assert document(outcome)["exit"] == code
    assert document(outcome)["verified"] is (code == 0)


def test_the_verifier_gets_what_the_user_asked_for() -> None:
    verifier = Verifier(VERIFIED)
    shown, _, _ = screen()
    pins = Pins(("0x" + "12" * 32,), Path("trust.json"))
    verify(VerifyOptions(Path("h"), RUN[:4], pins, scrub=True), shown, verifier, lambda _: [row(), row(OTHER_RUN)])
    assert verifier.calls == [(Path("h"), "0x" + RUN, ("0x" + "12" * 32,), Path("trust.json"), True)]


def test_a_whole_run_id_needs_no_list_of_runs() -> None:
    def unreadable(_: Path) -> list[object]:
        raise AssertionError("the list of runs was asked for")

    verifier = Verifier(VERIFIED)
    shown, _, _ = screen()
    verify(replace(OPTIONS, run=RUN), shown, verifier, unreadable)  # type: ignore[arg-type]  # it never returns
    assert verifier.calls[0][1] == "0x" + RUN


def test_claims_stand_under_their_level() -> None:
    _, text = told(VERIFIED)
    levels = ["re-derived", "anchored", "signed"]
    positions = [text.index(f"  {level} (") for level in levels]
    assert positions == sorted(positions)
    assert "12 x  updates signed by a valid key" in text
    assert "recomputed from the stored bytes by this verifier" in text


def test_what_is_somebodys_word_is_listed_as_not_proven_and_never_as_holding() -> None:
    _, text = told(VERIFIED)
    held, _, open_ = text.partition("What is NOT proven")
    assert "that the sites trained on the data" in open_
    assert "that the sites trained on the data" not in held
    assert "a pin is worth as much as its keeper" in open_


def test_without_a_pin_it_says_why_it_is_not_verified_and_what_to_do() -> None:
    code, text = told(UNPINNED)
    assert code == Exit.UNPINNED
    assert "SELF-CONSISTENT, NOT VERIFIED: no pinned head (exit 3)." in text
    assert "can be rebuilt as a whole, without a trace" in text
    assert "--head HASH, or --trust FILE" in text
    assert "that this is the only history" in text
    assert "VERIFIED:" not in text.replace("NOT VERIFIED:", "")


def test_the_trust_file_of_the_home_is_offered_if_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text("{}")
    assert f"--trust {tmp_path / 'trust.json'}" in told(UNPINNED, replace(OPTIONS, home=tmp_path))[1]


def test_rounds_after_the_pin_are_told_apart_from_no_pin_at_all() -> None:
    options = replace(OPTIONS, pins=Pins(("0x" + "12" * 32,), None))
    assert "some rounds come after the last pinned head" in told(UNPINNED, options)[1]


def test_an_empty_record_is_not_verified() -> None:
    code, text = told(Lineage(Verdict.SELF_CONSISTENT, (), (), (), ()))
    assert code == Exit.UNPINNED
    assert "Nothing is recorded yet" in text


def test_a_finding_is_told_with_round_claim_expectation_and_find() -> None:
    code, text = told(FAULTY)
    assert code == Exit.FINDINGS
    assert f"round 2 of run 0x{RUN}: claim 'model' (re-derived)" in text
    assert "expected 0x" + "11" * 32 in text
    assert "got      0x" + "22" * 32 in text
    assert "do not rely on this record" in text
    assert "VERIFIED:" not in text


def test_a_finding_outside_the_rounds_is_placed() -> None:
    registry = Finding("", 0, "registry", ClaimLevel.ANCHORED, "a", "b")
    assert "ledger as a whole: claim 'registry'" in told(samples.lineage(Verdict.FINDINGS, findings=(registry,)))[1]
    assert "1 finding\n" in told(FAULTY)[1]


def test_the_document_has_claims_by_level_and_whole_findings() -> None:
    found = document(FAULTY)
    assert found["rounds"] == 4  # the closing link is no round
    claims = found["claims"]
    assert isinstance(claims, dict)
    assert list(claims) == ["re-derived", "anchored", "signed", "attested", "self-reported"]
    assert claims["signed"] == [{"name": "update", "statement": "updates signed by a valid key", "instances": 12}]
    assert found["findings"] == [
        {
            "run": "0x" + RUN,
            "round": 2,
            "claim": "model",
            "level": "re-derived",
            "expected": "0x" + "11" * 32,
            "got": "0x" + "22" * 32,
        }
    ]


def test_hostile_findings_and_claims_cannot_steer_the_terminal() -> None:
    finding = Finding(HOSTILE, 1, HOSTILE, ClaimLevel.SIGNED, HOSTILE, HOSTILE)
    claim = Claim(HOSTILE, ClaimLevel.SIGNED, HOSTILE, 1)
    outcome = Lineage(Verdict.FINDINGS, (), (claim,), (finding,), (HOSTILE,))
    _, text = told(outcome)
    assert "\x1b" not in text
    assert "\u202e" not in text


def options_of(*heads: str, trust: str | None = None) -> argparse.Namespace:
    return argparse.Namespace(head=list(heads), trust=trust)


def test_heads_are_taken_with_and_without_0x_in_any_case() -> None:
    assert pins_of(options_of("AB" * 32, "0x" + "cd" * 32)).heads == ("0x" + "ab" * 32, "0x" + "cd" * 32)


@pytest.mark.parametrize("head", ["", "0x", "ab", "g" * 64, "ab" * 33, "0x" + "ab" * 32 + "\n"])
def test_a_head_that_is_no_hash_is_refused(head: str) -> None:
    with pytest.raises(InputError, match="--head: expected 64 hexadecimal digits"):
        pins_of(options_of(head))


def test_a_trust_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"--trust: expected a trust file, got .*none\.json"):
        pins_of(options_of(trust=str(tmp_path / "none.json")))
