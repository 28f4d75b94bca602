"""What a run reports at its end, and what a plan would spend: the values behind the tables and `--json`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrivacySummary:
    """One client's privacy in this run, and over its dataset's lifetime (micro-epsilon)."""

    client: str
    micro_epsilon: int
    micro_epsilon_total: int
    delta_e12: int
    unit: str
    mechanism: str
    noise_multiplier_e6: int
    batches_per_epoch: int
    steps: int
    accountant: str
    grant: str
    micro_epsilon_grant: int


@dataclass(frozen=True, slots=True)
class RejectionSummary:
    """A rejected reply: round, client (address or node), reason code and words."""

    round: int
    client: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The outcome of a run. Ids and digests are 0x-hex, CIDs text; metrics by client and "overall"."""

    run: str
    federation: str
    mode: str
    rounds: int
    is_resumed: bool
    model_cid: str
    model_digest: str
    ledger_head: str
    metrics: dict[str, dict[str, float]]
    privacy: tuple[PrivacySummary, ...]
    rejections: tuple[RejectionSummary, ...]
    seconds: float
    payload_encryption: str
    trust_file: str


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a run would do and spend, computed without doing it."""

    experiment: str
    config_digest: str
    rounds: int
    parameters: int
    privacy: tuple[PrivacySummary, ...]


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a home: `state` is "finished", "unfinished" or "damaged"."""

    run: str
    experiment: str
    state: str
    rounds_ended: int
    rounds: int
    model_cid: str
    config: str
    created_at: int
