"""How the outcome of a verification is told: what holds and how strongly, what does not, what nobody can prove.

The words never claim more than the verifier checked: a lineage without a pinned head is "self-consistent", because
whoever keeps a ledger can rebuild it as a whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fedchain.cli.arguments import Pins
from fedchain.cli.exits import exit_of_verdict
from fedchain.cli.screen import Screen
from fedchain.cli.text import hex_id
from fedchain.core.lineage import ClaimLevel, Finding, Lineage, Verdict

LEVELS: Final = {
    ClaimLevel.REDERIVED: "recomputed from the stored bytes by this verifier",
    ClaimLevel.ANCHORED: "its commitment is on the ledger and matches",
    ClaimLevel.SIGNED: "a registered key signed exactly this",
    ClaimLevel.ATTESTED: "a named third party says so",
    ClaimLevel.SELF_REPORTED: "somebody's word: not proven",
}
_UNPINNED: Final = (
    "that this is the only history of the ledger: whoever keeps it could have rebuilt it as a whole",
    "that nothing was cut off at its end",
)
_RELEASES: Final = "that no later step of a model version was left out: no pinned head covers the registry of models"
_PINNED: Final = "that the pins are independent: a pin is worth as much as its keeper (a trust file has a note on that)"


def document(lineage: Lineage) -> dict[str, object]:
    """Return the JSON document of a verification."""
    claims: dict[str, list[dict[str, object]]] = {level.value: [] for level in ClaimLevel}
    for each in lineage.claims:
        claims[each.level].append({"name": each.name, "statement": each.statement, "instances": each.instances})
    return {
        "verified": lineage.verdict is Verdict.VERIFIED,
        "verdict": lineage.verdict.value,
        "exit": int(exit_of_verdict(lineage.verdict)),
        "rounds": sum(each.kind != "closed" for each in lineage.rounds),
        "claims": claims,
        "findings": [_finding(each) for each in lineage.findings],
        "not_proven": not_proven(lineage),
        "pinned": list(lineage.pinned),
    }


def not_proven(lineage: Lineage) -> list[str]:
    """Return what the verification leaves open, in words."""
    open_claims = [each.statement for each in lineage.claims if each.level is ClaimLevel.SELF_REPORTED]
    if lineage.verdict not in (Verdict.VERIFIED, Verdict.ANCHORED):
        open_claims += _UNPINNED
    if lineage.releases:
        open_claims.append(_RELEASES)
    return [*open_claims, _PINNED] if lineage.pinned else open_claims


def show_claims(screen: Screen, lineage: Lineage) -> None:
    """Print the claims that hold, by level, with the number of instances of each."""
    screen.line("What holds, and how strongly")
    for level, meaning in LEVELS.items():
        held = [each for each in lineage.claims if each.level is level and level is not ClaimLevel.SELF_REPORTED]
        if held:
            screen.line(f"  {level.value} ({meaning})")
        for each in held:
            screen.line(f"    {each.instances:>6} x  {each.statement}")
    if lineage.pinned:
        screen.line("  pinned by what you hold from elsewhere")
        for pin in lineage.pinned:
            screen.line(f"      {pin}")
    screen.line()


def show_findings(screen: Screen, lineage: Lineage) -> None:
    """Print every finding with its round, claim, what was expected and what was there."""
    if not lineage.findings:
        return
    screen.line(f"What does not hold: {len(lineage.findings)} finding{'s' * (len(lineage.findings) != 1)}")
    for each in lineage.findings:
        screen.line(f"  {_place(each)}: claim '{each.claim}' ({each.level.value})")
        screen.line(f"    expected {each.expected}")
        screen.line(f"    got      {each.got}")
    screen.line()


def show_not_proven(screen: Screen, lineage: Lineage) -> None:
    """Print what nobody can tell from this record."""
    screen.line("What is NOT proven")
    for each in not_proven(lineage):
        screen.line(f"  - {each}")
    screen.line()


def show_verdict(screen: Screen, lineage: Lineage, home: Path, pins: Pins) -> None:
    """Print the verdict, why, and what to do."""
    match lineage.verdict:
        case Verdict.VERIFIED:
            screen.line("VERIFIED: nothing was found, and every run is pinned to its last round (exit 0).")
        case Verdict.FINDINGS:
            screen.line("FINDINGS: something above does not hold; do not rely on this record (exit 1).")
        case Verdict.ANCHORED:
            screen.line(
                "ANCHORED, NOT ALL RE-DERIVED: nothing was found and all is pinned, but some of it cannot be opened"
            )
            screen.line(
                "here (no key for it, or it was erased), or recomputed (a strategy of somebody's own, without its code)"
            )
            screen.line("(exit 3). The claims above say what was read and what not.")
        case Verdict.SELF_CONSISTENT:
            screen.line("SELF-CONSISTENT, NOT VERIFIED: no pinned head (exit 3).")
            screen.line(_why(lineage, pins))
            screen.line(f"To verify, give it a round hash that you have from elsewhere: {_how(home)}")


def _why(lineage: Lineage, pins: Pins) -> str:
    if not lineage.rounds:
        return "Nothing is recorded yet, so there is nothing to pin."
    if pins.heads or pins.trust:
        return "Everything fits together, but some rounds come after the last pinned head."
    return "Everything fits together, but a ledger that one party keeps can be rebuilt as a whole, without a trace."


def _how(home: Path) -> str:
    trust = home / "trust.json"
    return f"--head HASH, or --trust {trust if trust.is_file() else 'FILE'}"


def _place(finding: Finding) -> str:
    if not finding.run:
        return f"round {finding.round}" if finding.round else "ledger as a whole"
    return f"round {finding.round} of run {hex_id(finding.run)}"


def _finding(finding: Finding) -> dict[str, object]:
    return {
        "run": hex_id(finding.run) if finding.run else None,
        "round": finding.round,
        "claim": finding.claim,
        "level": finding.level.value,
        "expected": finding.expected,
        "got": finding.got,
    }
