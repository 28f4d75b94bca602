"""The configuration of an experiment: frozen dataclasses, checked at the edge against the resolved Hydra config.

Every field is documented in docs/configuration.md. Unknown keys, wrong types and values out of range end in one line.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeAlias, cast

import rfc8785
from annotated_types import Ge, Gt, Le, Lt, MinLen

from fedchain.core.digest import Digest, tagged

Positive = Annotated[int, Ge(1)]
Task: TypeAlias = Literal["binary", "multiclass", "regression"]
Metric: TypeAlias = Literal["accuracy", "auprc", "auroc", "log_loss", "mae", "rmse"]
Device: TypeAlias = Literal["cpu", "cuda"]
Target: TypeAlias = Annotated[str, MinLen(3)]
PositiveReal = Annotated[float, Gt(0), Lt(1e6)]
FLOWER: Final = "flower"
"""The name of the model that a Flower app trains by itself."""

_RECORDED: Final = "is_recorded"


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which data, cut how: `split` is "flamby" or "resplit-N" with a seed N; `directory` replaces the vendored one.

    For "custom", `target` names the function ("module:function") that returns the partitions, called with `options`.
    The directory is not recorded: the digests of its files are known, and its name is of this machine only.
    """

    name: Literal["custom", "heart"]
    split: Annotated[str, MinLen(1)]
    directory: str | None = field(default=None, metadata={_RECORDED: False})
    target: Target | None = None
    options: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Which model; `hidden` units make sense for "mlp" only.

    "flower" is what the Flower app that `target` names trains by itself, told `options`; then the strategy's `epochs`,
    `batch_size`, `learning_rate` and `updates` mean nothing.

    For "custom", `target` names the class or function ("module:name") that makes it from `options`; buffers named in
    `frozen` keep their first value and are no part of the exchanged model. `task` chooses the loss and the metrics.
    `initial` is a safetensors file that the run starts from, in the place of fresh weights: its digest is recorded, its
    path is not.
    """

    name: Literal["custom", "flower", "logistic", "mlp"]
    hidden: Annotated[int, Ge(0), Le(1_000_000)]
    task: Task = "binary"
    target: Target | None = None
    options: dict[str, str] = field(default_factory=dict[str, str])
    frozen: tuple[str, ...] = ()
    initial: Annotated[str, MinLen(1)] | None = field(default=None, metadata={_RECORDED: False})
    initial_sha256: Annotated[str, MinLen(64)] | None = None


@dataclass(frozen=True, slots=True)
class PrivacyConfig:
    """Differential privacy of the whole run, at each client: `epsilon` is the run's target at `delta`."""

    mode: Literal["dp", "off"]
    epsilon: Annotated[float, Gt(0), Le(1000)]
    delta: Annotated[float, Ge(1e-12), Le(0.1)]
    max_grad_norm: PositiveReal


@dataclass(frozen=True, slots=True)
class StrategyConfig:
    """How clients train and how updates become the next model.

    `updates` batches a round take the place of `epochs` where they are not 0.
    For "custom", `target` names the function ("module:name") that makes the next model, called with `options`.
    "scaffold" wants `updates`, since its controls are for as many steps of every client.
    `proximal` is FedProx's mu; the other reals at the end are the server optimiser's, for "fedavgm" and "fedadam".
    """

    name: Literal["custom", "fedadam", "fedavg", "fedavgm", "fedprox", "scaffold"]
    epochs: Positive
    batch_size: Positive
    learning_rate: PositiveReal
    min_clients: Positive
    max_update_norm: PositiveReal
    aggregation_threads: Annotated[int, Ge(1), Le(64)]
    round_timeout_s: Annotated[int, Ge(1), Le(7 * 24 * 3600)]
    updates: Annotated[int, Ge(0), Le(1_000_000)] = 0
    proximal: Annotated[float, Ge(0), Lt(1e6)] = 0.0
    server_learning_rate: PositiveReal = 1.0
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.9
    second_momentum: Annotated[float, Ge(0), Lt(1)] = 0.99
    tau: PositiveReal = 1e-3
    target: Target | None = None
    options: dict[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class StoreNodesConfig:
    """How the nodes of `store=kubo` are reached, and how many must confirm an artifact; docs/stores.md explains each.

    `authorization_files` has one path an address, "" for none, or is empty; the home's folder counts as a replica where
    `keep_local` is true.
    """

    addresses: Annotated[tuple[str, ...], MinLen(1)]
    authorization_files: tuple[str, ...]
    keep_local: bool
    quorum: Positive
    timeout_s: Annotated[int, Ge(1), Le(3600)]


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """Where artifacts lie: "embedded" is a folder of the home, "kubo" nodes of IPFS behind the RPC of Kubo.

    Of a run's models every `snapshot_every`-th is stored whole, the others as what changed since the one before.
    `nodes` are there for "kubo" only, and are not recorded: one run may be kept elsewhere tomorrow.
    """

    name: Literal["embedded", "kubo"]
    snapshot_every: Annotated[int, Ge(1), Le(64)] = 8
    nodes: StoreNodesConfig | None = field(default=None, metadata={_RECORDED: False})


@dataclass(frozen=True, slots=True)
class EncryptionConfig:
    """Whether what a run stores is encrypted for its readers: "off" is for tests, and every report says it."""

    mode: Literal["on", "off"]


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """How the chain of `ledger=rpc` is reached, and what its transactions may cost; docs/ledgers.md explains each."""

    endpoints: Annotated[tuple[str, ...], MinLen(1)]
    quorum: Positive
    confirmations: Positive
    buried_after: Positive
    first_block: Annotated[int, Ge(0), Lt(2**53)]
    patience_s: Annotated[int, Ge(1), Le(7 * 24 * 3600)]
    send_timeout_s: Annotated[int, Ge(1), Le(7 * 24 * 3600)]
    poll_ms: Annotated[int, Ge(10), Le(600_000)]
    resend_after_s: Annotated[int, Ge(1), Le(24 * 3600)]
    stuck_after_s: Annotated[int, Ge(1), Le(24 * 3600)]
    max_fee_gwei: Annotated[int, Ge(0), Lt(2**53)]
    max_tip_gwei: Annotated[int, Ge(0), Lt(2**53)]


@dataclass(frozen=True, slots=True)
class LedgerConfig:
    """Where rounds are sealed: "embedded" is an EVM chain in a file of the home, "log" a signed log (chain id 0).

    "rpc" is any chain behind JSON-RPC endpoints; only then there is a `node`, which is not recorded: addresses of
    endpoints carry access keys, and one run may be reached in other ways tomorrow.
    """

    name: Literal["embedded", "log", "rpc"]
    chain_id: Annotated[int, Ge(0), Lt(2**53)]
    node: NodeConfig | None = field(default=None, metadata={_RECORDED: False})


@dataclass(frozen=True, slots=True)
class RewardsConfig:
    """What contributions earn: "donated" scores them on rows that sites donate to all who verify, "off" pays nothing.

    `token` is the address of the ERC-20 contract where `asset` is "erc20", else null.
    """

    mode: Literal["off", "donated"]
    pool_per_round: Annotated[int, Ge(0), Lt(2**53)]
    asset: Literal["credits", "native", "erc20"]
    token: str | None
    dispute_window_s: Annotated[int, Ge(1), Le(365 * 24 * 3600)]


@dataclass(frozen=True, slots=True)
class SimulationConfig:
    """What only a simulation has: replies shuffled with this seed, or left in order (null), and how sites are trained.

    `engine` "auto" trains the sites of a round together where the engine takes the model, "sites" each by itself.
    `workers` is the number of the engine's processes, 0 for as many as there are processors if the work is worth it.
    `backend` is what calls the app: this process, or actors of Ray, `workers` of them, in which each site trains by
    itself. It is not recorded: a run that was begun on one may go on with the other.
    """

    shuffle_replies: int | None
    engine: Literal["auto", "sites"] = "auto"
    workers: Annotated[int, Ge(0), Le(256)] = 0
    backend: Literal["local", "ray"] = field(default="local", metadata={_RECORDED: False})


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """Which metric of all test rows together says what the best model is; null takes the task's own."""

    metric: Metric | None = None


@dataclass(frozen=True, slots=True)
class EarlyStoppingConfig:
    """A run ends after `patience` rounds that were no better by more than `min_delta`; 0 rounds: never."""

    patience: Annotated[int, Ge(0), Le(1_000_000)] = 0
    min_delta: Annotated[float, Ge(0), Lt(1e6)] = 0.0


@dataclass(frozen=True, slots=True)
class DebugConfig:
    """Whether this is a try-out of one batch, which every report says."""

    mode: Literal["off", "on"] = "off"


@dataclass(frozen=True, slots=True)
class ExperimentConfig:
    """One experiment, known by its digest."""

    experiment: Annotated[str, MinLen(1)]
    seed: Annotated[int, Ge(0), Lt(2**53)]
    rounds: Annotated[int, Ge(1), Le(1_000_000)]
    data: DataConfig
    model: ModelConfig
    privacy: PrivacyConfig
    strategy: StrategyConfig
    store: StoreConfig
    encryption: EncryptionConfig
    ledger: LedgerConfig
    rewards: RewardsConfig
    simulation: SimulationConfig
    checkpoint: CheckpointConfig = CheckpointConfig()
    early_stopping: EarlyStoppingConfig = EarlyStoppingConfig()
    device: Device = "cpu"
    debug: DebugConfig = DebugConfig()

    def canonical(self) -> bytes:
        """Return the configuration as RFC 8785 JSON, reals as decimal strings: the artifact that is recorded."""
        return rfc8785.dumps(cast("dict[str, str]", _plain(self)))

    def digest(self) -> Digest:
        """Return `configDigest`."""
        return config_digest(self.canonical())


def config_digest(canonical: bytes) -> Digest:
    """Return the digest of a recorded configuration."""
    return tagged("config", canonical)


def is_recorded(each: dataclasses.Field[Any]) -> bool:
    """Return whether a field is part of the artifact; one that is not has its default when that is read back."""
    return bool(each.metadata.get(_RECORDED, True))


def decimal_text(value: float) -> str:
    """Return the shortest decimal that reads back as the same float, without an exponent."""
    return format(Decimal(repr(value)), "f")


def _plain(value: object) -> object:
    match value:
        case float():
            return decimal_text(value)
        case _ if dataclasses.is_dataclass(value):
            return {
                each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value) if is_recorded(each)
            }
        case tuple():
            return list(cast("tuple[object, ...]", value))
        case _:
            return value
