"""The ledger of an audit: each check either counts towards its claim or becomes a finding."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from fedchain.core.lineage import Claim, ClaimLevel, Finding

STATEMENTS: dict[str, tuple[ClaimLevel, str]] = {
    "model": (ClaimLevel.REDERIVED, "global models recomputed from the stored updates, bit for bit"),
    "state": (
        ClaimLevel.REDERIVED,
        "states of the server (moments, controls) recomputed from the stored updates, bit for bit",
    ),
    "population": (
        ClaimLevel.REDERIVED,
        "clients of populations: drawn by their run's public seed, in the registered roster, their mean recomputed",
    ),
    "payload": (ClaimLevel.REDERIVED, "payloads that hash to their identifier and open their signed commitment"),
    "privacy": (ClaimLevel.REDERIVED, "privacy totals recomputed from the signed parameters and within the grants"),
    "unopened model": (
        ClaimLevel.ANCHORED,
        "global models whose digest is on the ledger, NOT recomputed: some of their updates cannot be opened here",
    ),
    "own model": (
        ClaimLevel.ANCHORED,
        "global models whose digest is on the ledger, NOT recomputed: made by somebody's own strategy, code not given",
    ),
    "unopened payload": (
        ClaimLevel.ANCHORED,
        "payloads that this verifier has no key for: their signed commitments are on the ledger, their content unread",
    ),
    "erased payload": (
        ClaimLevel.ANCHORED,
        "payloads that were erased, with receipts signed by their sites: their signed commitments are on the ledger",
    ),
    "retired payload": (
        ClaimLevel.ANCHORED,
        "payloads and refused replies whose retention ended, as this home says: their commitments are on the ledger",
    ),
    "unopened record": (
        ClaimLevel.ANCHORED,
        "links whose manifest this verifier has no key for: only their place in the chain was checked",
    ),
    "chain": (ClaimLevel.ANCHORED, "links whose hash was recomputed and follows its predecessor on the ledger"),
    "registry": (ClaimLevel.ANCHORED, "registry actions that lead to the head that the ledger keeps"),
    "manifest": (ClaimLevel.ANCHORED, "manifests that match their link on the ledger"),
    "configuration": (ClaimLevel.ANCHORED, "run configurations that match their digest"),
    "validation": (ClaimLevel.ANCHORED, "sets of donated rows that match the manifest of their run"),
    "rejection": (ClaimLevel.ANCHORED, "rejected replies with their reason and the evidence kept"),
    "release": (
        ClaimLevel.ANCHORED,
        "steps of model versions that their registry's rules allow and that lead to the states that it keeps",
    ),
    "approval": (
        ClaimLevel.SIGNED,
        "votes about model versions, signed by reviewers whom their organisation had named",
    ),
    "update": (ClaimLevel.SIGNED, "updates signed by a key that was valid at the round's deadline"),
    "consent": (ClaimLevel.SIGNED, "registry actions that bear the signature of the site they belong to"),
    "unprotected": (
        ClaimLevel.SIGNED,
        "updates that left WITHOUT differential privacy, as their site's policy allows: their loss is unbounded",
    ),
    "receipt": (ClaimLevel.ATTESTED, "round hashes co-signed by a site after it checked its inclusion"),
    "artifact": (ClaimLevel.ANCHORED, "artifacts of the store, named by no record, that match their identifier"),
}
SELF_REPORTED = (
    Claim("data", ClaimLevel.SELF_REPORTED, "that the sites trained on the data they registered", 0),
    Claim(
        "noise", ClaimLevel.SELF_REPORTED, "that the sites really clipped, sampled and added the noise they signed", 0
    ),
    Claim("hardware", ClaimLevel.SELF_REPORTED, "that the sites ran the code whose digest they signed", 0),
)


POPULATION = Claim(
    "clients", ClaimLevel.SELF_REPORTED, "that a population's clients are separate: none has a key, its site signs", 0
)


class Fault(Exception):  # noqa: N818 - not an error of the program: the record contradicts itself
    """One check of a link failed; becomes a finding."""

    def __init__(self, claim: str, expected: object, got: object) -> None:
        super().__init__(claim)
        self.claim = claim
        self.expected = expected
        self.got = got


UNOPENED = frozenset(
    {"own model", "unopened model", "unopened payload", "erased payload", "retired payload", "unopened record"}
)
"""Claims that stand for what could not be opened or recomputed: with one of them a lineage is anchored at most."""


@dataclass(slots=True)
class Report:
    """Counts what held and keeps what did not."""

    findings: list[Finding] = field(default_factory=list[Finding])
    counts: dict[str, int] = field(default_factory=dict[str, int])

    def holds(self, claim: str, instances: int = 1) -> None:
        """Count instances of a claim that were checked and hold."""
        self.counts[claim] = self.counts.get(claim, 0) + instances

    def fails(self, claim: str, *, run: bytes, round_: int, expected: object, got: object) -> None:
        """Record a finding."""
        level, _ = STATEMENTS[claim]
        self.findings.append(Finding(run.hex(), round_, claim, level, _text(expected), _text(got)))

    @property
    def is_open(self) -> bool:
        """Whether all that was audited could be opened and recomputed."""
        return not any(self.counts.get(claim) for claim in UNOPENED)

    def include(self, other: Report) -> None:
        """Take over what another report counted and found."""
        for claim, instances in other.counts.items():
            self.holds(claim, instances)
        self.findings += other.findings

    def claims(self) -> tuple[Claim, ...]:
        """Return every claim with its instances, then what stays somebody's word."""
        held = tuple(
            Claim(name, level, statement, self.counts[name])
            for name, (level, statement) in STATEMENTS.items()
            if self.counts.get(name)
        )
        return held + SELF_REPORTED + ((POPULATION,) if self.counts.get("population") else ())


def _text(value: object) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def same(claim: str, expected: object, got: object) -> None:
    """Check that two values are equal.

    Raises:
        Fault: naming the claim, if they are not.
    """
    if expected != got:
        raise Fault(claim, _shown(expected), _shown(got))


def _shown(value: object) -> object:
    if isinstance(value, tuple):
        each = cast("tuple[object, ...]", value)
        return ", ".join(item.hex() if isinstance(item, bytes) else str(item) for item in each)
    return value
