"""The manifests: what a run and each of its rounds consist of, as documents kept in the store.

The ledger holds the CID digest of each round's manifest; a round's manifest names everything else by CID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fedchain.core import document
from fedchain.core.digest import Digest, tagged
from fedchain.core.optimiser import ServerOptimiser
from fedchain.core.own_rule import OwnStrategy
from fedchain.core.population import RosterOpening
from fedchain.core.task import LocalTraining, UpdateHeader

RUN_FORMAT: Final = "fedchain/run/4"
ROUND_FORMAT: Final = "fedchain/round/2"
CID_PROFILE: Final = "unixfs-v1-2025"


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """An artifact by the CID of its stored bytes and, where it has one, the domain digest of its content."""

    cid: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class CohortMember:
    """A client that is invited: its device key, its organisation, its dataset and the policy that covers it.

    `roster` opens the dataset of a site that answers for a population.
    """

    client: bytes
    organisation: bytes
    dataset: bytes
    policy: ArtifactRef
    nominal_size: int
    roster: RosterOpening | None = None

    @property
    def trained_rows(self) -> int:
        """The rows that batches are counted by: of a population those of its smallest client."""
        return self.nominal_size if self.roster is None else self.roster.roster.least_rows


@dataclass(frozen=True, slots=True)
class TensorShape:
    """One tensor of the model."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Donor:
    """A client that donates rows for validation: whoever may verify can read them, and it does not train on them."""

    client: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class RewardTerms:
    """What a run pays for, fixed before its first round.

    `validation` is the set of donated rows, whose `donors` are sorted by client; each row names its donor's place.
    """

    statistic: str
    pool_per_round: int
    validation: ArtifactRef
    donors: tuple[Donor, ...]


@dataclass(frozen=True, slots=True)
class RunManifest:
    """What holds for every round of a run; each round's manifest names it. Without rewards `rewards` is None.

    `optimiser` and `own_strategy` are None where the mean update itself moves the model.

    Its digest is the run's id, so whoever signs anything about the run has signed this: its cohort, its configuration,
    its initial model, and the rows that it scores by. `salt` makes two runs of one configuration differ.
    """

    format: str
    profile: str
    federation: bytes
    salt: bytes
    experiment: str
    rounds: int
    strategy: str
    min_clients: int
    max_update_norm_e6: int
    fraction_bits: int
    width: int
    tensors: tuple[TensorShape, ...]
    initial_model: ArtifactRef
    config: ArtifactRef
    code_digest: bytes
    env_digest: bytes
    optimiser: ServerOptimiser | None
    own_strategy: OwnStrategy | None
    training: LocalTraining
    cohort: tuple[CohortMember, ...]
    mode: str
    payload_encryption: str
    rewards: RewardTerms | None
    created_at: int

    @property
    def run(self) -> Digest:
        """The id of the run."""
        return tagged("run", document.to_bytes(self))


@dataclass(frozen=True, slots=True)
class AcceptedUpdate:
    """An update in the aggregate: its signed statement and the CID of its payload."""

    header: UpdateHeader
    payload_cid: str


@dataclass(frozen=True, slots=True)
class RejectedReply:
    """A reply that was refused: why, when, whose, and the CID of its bytes as they came.

    `round` is the round that the reply answered, which is an earlier one for a late reply. `signer` is zero where the
    reply bears no valid signature.
    """

    reason: int
    round: int
    signer: bytes
    node: int
    evidence_cid: str


@dataclass(frozen=True, slots=True)
class RoundManifest:
    """What one link of the chain consists of. `kind` is the link's; `reason` is empty unless the round was aborted.

    `state` is that of the server's optimiser after the link: unchanged unless the round was sealed.
    `registry_head` is the registry's head that the outcome was decided by; the link's hash binds the one at sealing.
    """

    format: str
    run_manifest: str
    federation: bytes
    run: bytes
    round: int
    attempt: int
    kind: int
    reason: str
    base_model: ArtifactRef
    model: ArtifactRef
    state: ArtifactRef | None
    accepted: tuple[AcceptedUpdate, ...]
    rejected: tuple[RejectedReply, ...]
    opened_at: int
    deadline: int
    closed_at: int
    registry_head: bytes
