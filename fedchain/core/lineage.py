"""The result of an audit: claims with the level at which each holds, and findings where one does not.

A level is never higher than what was checked. A lineage is `verified` only if nothing was found and a pinned head,
known from elsewhere, matches; without one it is self-consistent at most.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ClaimLevel(enum.StrEnum):
    """How strongly a claim holds, strongest first."""

    REDERIVED = "re-derived"
    ANCHORED = "anchored"
    SIGNED = "signed"
    ATTESTED = "attested"
    SELF_REPORTED = "self-reported"


@dataclass(frozen=True, slots=True)
class Claim:
    """Something that was checked and holds: at which level, and how many instances."""

    name: str
    level: ClaimLevel
    statement: str
    instances: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim that fails. `round` is 0 for what belongs to no round; `run` is hex, empty for the registry."""

    run: str
    round: int
    claim: str
    level: ClaimLevel
    expected: str
    got: str


class Verdict(enum.StrEnum):
    """The outcome of an audit, in the words of the command line."""

    VERIFIED = "verified against a pinned head"
    ANCHORED = "anchored against a pinned head: some of it cannot be opened here"
    SELF_CONSISTENT = "self-consistent, but no pinned head"
    FINDINGS = "findings"


@dataclass(frozen=True, slots=True)
class Population:
    """That a client answered for many: so many are registered by the root of its dataset, so many were drawn."""

    root: str
    clients: int
    drawn: int


@dataclass(frozen=True, slots=True)
class Contribution:
    """One client's part in one round, as far as it was verified."""

    client: str
    organisation: str
    dataset: str
    weight: int
    micro_epsilon_total: int
    run_micro_epsilon: int
    population: Population | None = None


@dataclass(frozen=True, slots=True)
class DonatedRows:
    """How many rows a client donated for validation; whoever may verify can read them."""

    client: str
    rows: int


@dataclass(frozen=True, slots=True)
class Taint:
    """A dataset behind a model, without consent from the second `since` on."""

    dataset: str
    since: int


@dataclass(frozen=True, slots=True)
class LineageRound:
    """One verified link: identifiers as hex or CID text. `donated` and `initial_file` hold for the whole run.

    `initial_file` is the sha256 of the file that the run says it took its first model from, "" for a fresh model.

    `taints` are withdrawn datasets behind the model, of this round or of any before it.
    """

    run: str
    round: int
    kind: str
    round_hash: str
    transaction: str
    base_model: str
    model_digest: str
    model_cid: str
    contributions: tuple[Contribution, ...]
    rejections: tuple[str, ...]
    donated: tuple[DonatedRows, ...] = ()
    taints: tuple[Taint, ...] = ()
    initial_file: str = ""


@dataclass(frozen=True, slots=True)
class CountedVote:
    """A reviewer's vote whose signature was checked; times in seconds. `sentence` is what it saw, empty if unknown."""

    reviewer: str
    organisation: str
    role: str
    signed_at: int
    valid_until: int
    evidence: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """What reviewers decided about a version at a second: signed by them, or anchored only where no vote is shown."""

    decision: str
    at: int
    transaction: str
    level: ClaimLevel
    votes: tuple[CountedVote, ...]


@dataclass(frozen=True, slots=True)
class Release:
    """A version of a model in the state that the replay of its steps leads to, since a second, approved until another.

    `parents` are version ids, of an import a digest.
    """

    version: str
    model: str
    round_hash: str
    organisation: str
    parents: tuple[str, ...]
    state: str
    since: int
    approved_until: int
    rulings: tuple[Ruling, ...]


@dataclass(frozen=True, slots=True)
class Lineage:
    """What the verifier re-derived from the record."""

    verdict: Verdict
    rounds: tuple[LineageRound, ...]
    claims: tuple[Claim, ...]
    findings: tuple[Finding, ...]
    pinned: tuple[str, ...]
    releases: tuple[Release, ...] = ()
