"""What a run reports at its end, and what a plan would spend: the values behind the tables and `--json`."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedchain.core.lineage import Lineage, Taint
from fedchain.core.rewards import RewardHistory


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
class RewardSummary:
    """What one client earned in this run, in whole units, and how many rows it donated for validation."""

    client: str
    earned: int
    donated_rows: int


@dataclass(frozen=True, slots=True)
class CheckpointSummary:
    """A model that is kept as a file: "last" or "best"; `value` is its metric over all test rows, if that is known."""

    name: str
    path: str
    round: int
    metric: str
    value: float | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """The outcome of a run. Ids and digests are 0x-hex, CIDs text; metrics by client and "overall".

    `ending` says why it has fewer rounds than were wanted, `initial` from which file it started; else they are "".
    """

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
    rewards: tuple[RewardSummary, ...]
    seconds: float
    payload_encryption: str
    trust_file: str
    ending: str = ""
    initial: str = ""
    is_debug: bool = False
    checkpoints: tuple[CheckpointSummary, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What a run would do and spend, computed without doing it."""

    experiment: str
    config_digest: str
    rounds: int
    parameters: int
    privacy: tuple[PrivacySummary, ...]
    is_debug: bool = False


@dataclass(frozen=True, slots=True)
class SweepSiteSummary:
    """What a sweep would cost one client's dataset (micro-epsilon).

    `micro_epsilon_run` is the most that one of the `jobs` costs alone, `micro_epsilon_total` all that is charged and
    all that they still ask for, composed.
    """

    client: str
    jobs: int
    micro_epsilon_run: int
    micro_epsilon_charged: int
    micro_epsilon_total: int
    delta_e12: int
    unit: str
    grant: str
    micro_epsilon_grant: int
    allows_unprotected: bool


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run of a home: `state` is "finished", "unfinished" or "damaged".

    `ending` says why it was ended early; what it measured (`metrics`, of the newest model) is the home's own word.
    """

    run: str
    experiment: str
    state: str
    rounds_ended: int
    rounds: int
    model_cid: str
    config: str
    created_at: int
    ending: str = ""
    model_digest: str = ""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    micro_epsilon: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class AccountSummary:
    """One account of the vault: all that it has earned, what it could claim now, and what it was paid."""

    client: str
    account: str
    earned: int
    claimable: int
    claimed: int


@dataclass(frozen=True, slots=True)
class PendingSummary:
    """A root that waits: it covers the first `rounds` paying rounds, and can be final from `claimable_at` (seconds)."""

    root: str
    total: int
    rounds: int
    claimable_at: int


@dataclass(frozen=True, slots=True)
class RewardOverview:
    """The rewards of a federation as re-derived; `vault` is empty before the first proposal.

    `rounds` paying rounds are on the ledger, `final_rounds` of them under the root that pays. `faults` are roots and
    payments of the vault that the record does not give; `settled` tells of rounds whose payloads are gone.
    """

    lineage: Lineage
    asset: str
    vault: str
    accounts: tuple[AccountSummary, ...]
    history: RewardHistory
    names: dict[bytes, str]
    final_rounds: int
    pending: PendingSummary | None
    faults: tuple[str, ...]
    settled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """One version; ids are hex, times seconds. `missing` says what an open review lacks, empty where none is open.

    `open_taints` are those without a disposition: they block approvals.
    """

    version: str
    model: str
    round_hash: str
    organisation: str
    parents: tuple[str, ...]
    state: str
    is_released: bool
    approved_until: int
    missing: str
    taints: tuple[Taint, ...]
    open_taints: tuple[Taint, ...]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key of a home: what it does, its address or reader's id (None where the file does not say), how it is kept."""

    role: str
    name: str
    does: str
    public: bytes | None
    kept: str


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """A token behind PKCS#11: the module's path and the token's label."""

    module: str
    token: str


@dataclass(frozen=True, slots=True)
class KeyRows:
    """The keys of a home, and whether the passphrase that opens them lies beside them."""

    rows: tuple[KeyRow, ...]
    is_simulated: bool
