"""Planning: from a configuration and a cohort to the run's manifest, with everything it names in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedchain.config import ExperimentConfig, ModelConfig, decimal_text
from fedchain.core import document
from fedchain.core.aggregation import MAX_TOTAL_WEIGHT
from fedchain.core.cid import Cid
from fedchain.core.control import NO_CORRECTION, SCAFFOLD
from fedchain.core.digest import ZERO
from fedchain.core.encryption import HPKE_AES_256_GCM, NO_ENCRYPTION
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import (
    CID_PROFILE,
    RUN_FORMAT,
    ArtifactRef,
    CohortMember,
    Donor,
    RewardTerms,
    RunManifest,
    TensorShape,
)
from fedchain.core.policy import DataPolicy
from fedchain.core.population import PREFIX
from fedchain.core.privacy import MICRO, Release, batches_per_epoch, merged, micro_epsilon
from fedchain.core.scoring import STATISTIC, ValidationSet, validation_digest, value
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, TensorSchema, encode, model_digest
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant
from fedchain.workflow.enrolment import Applicant
from fedchain.workflow.rounds import RunPlan
from fedchain.workflow.run_state import Planned
from fedchain.workflow.stepping import optimiser_of, own_strategy_of


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run is made with: digests of code and environment, and whether it is a simulation or a federation."""

    code_digest: bytes
    env_digest: bytes
    mode: str
    created_at: int
    strategy: bytes = ZERO
    """Digest of the source files of a strategy of one's own; zero where there is none."""


def local_training(config: ExperimentConfig, inputs: int | str) -> LocalTraining:
    """Return what every site is told to do in a round; `inputs` is the shape of a row ("13", or "9x128")."""
    is_private = config.privacy.mode == "dp"
    return LocalTraining(
        model=config.model.name,
        model_options={"inputs": str(inputs)} | model_options(config.model),
        epochs=config.strategy.epochs,
        batch_size=config.strategy.batch_size,
        learning_rate=decimal_text(config.strategy.learning_rate),
        epsilon=decimal_text(config.privacy.epsilon) if is_private else "off",
        delta_e12=round(config.privacy.delta * 1e12),
        max_grad_norm=decimal_text(config.privacy.max_grad_norm),
        rounds=config.rounds,
        seed=config.seed,
        task=config.model.task,
        updates=config.strategy.updates,
        proximal=decimal_text(config.strategy.proximal) if config.strategy.name == "fedprox" else "0",
        correction=SCAFFOLD if config.strategy.name == "scaffold" else NO_CORRECTION,
    )


def model_options(model: ModelConfig) -> dict[str, str]:
    """Return what a model is made of beside its inputs; a model of one's own is named by its target."""
    hidden = {"hidden": str(model.hidden)} if model.hidden else {}
    if model.target is None:
        return hidden
    own = {f"options.{name}": text for name, text in model.options.items()}
    return hidden | {"target": model.target, "frozen": ",".join(model.frozen)} | own


def payload_encryption(config: ExperimentConfig) -> str:
    """Return how payloads are kept, as the run's manifest has it."""
    return HPKE_AES_256_GCM if config.encryption.mode == "on" else NO_ENCRYPTION


@dataclass(frozen=True, slots=True, eq=False)
class Donation:
    """Rows (n, features) and labels (n,) of 0 and 1 that a client donates: all who verify can read them."""

    client: bytes
    rows: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a new run is made of, before it is written down."""

    config: ExperimentConfig
    identity: LedgerIdentity
    salt: bytes
    applicants: Sequence[Applicant]
    training: LocalTraining
    initial: FloatTensors
    provenance: Provenance
    donations: Sequence[Donation] = ()


def write_plan(new: NewRun, store: ArtifactStore) -> Planned:
    """Put the initial model, the configuration, the policies and the run's manifest; return the journal's first body.

    Raises:
        PolicyError: if there are fewer sites than a round needs: it would spend their privacy for nothing.
        InputError: if the sites have more rows than an exact sum can weigh, or the model is out of range.
    """
    _check_cohort(new)
    encoding = FixedPoint()
    model = encode(encoding.quantise(new.initial))
    schema = TensorSchema.of(new.initial)
    taken = next((name for name in schema.names if name.startswith(PREFIX)), None)
    if taken is not None:
        raise InputError("name of a tensor", expected=f"none that begins with {PREFIX}", got=taken)
    config = new.config
    canonical = config.canonical()
    manifest = RunManifest(
        format=RUN_FORMAT,
        profile=CID_PROFILE,
        federation=new.identity.federation,
        salt=new.salt,
        experiment=config.experiment,
        rounds=config.rounds,
        strategy=config.strategy.name,
        min_clients=config.strategy.min_clients,
        max_update_norm_e6=round(config.strategy.max_update_norm * MICRO),
        fraction_bits=encoding.fraction_bits,
        width=encoding.width,
        tensors=tuple(TensorShape(name, shape) for name, shape in zip(schema.names, schema.shapes, strict=True)),
        initial_model=ArtifactRef(store.put(model).text, model_digest(model)),
        config=ArtifactRef(store.put(canonical).text, config.digest()),
        code_digest=new.provenance.code_digest,
        env_digest=new.provenance.env_digest,
        optimiser=optimiser_of(config.strategy),
        own_strategy=own_strategy_of(config.strategy, new.provenance.strategy),
        training=new.training,
        cohort=tuple(_member(each, store) for each in sorted(new.applicants, key=lambda each: each.device)),
        mode=new.provenance.mode,
        payload_encryption=payload_encryption(config),
        rewards=_terms(new, encoding, store),
        created_at=new.provenance.created_at,
    )
    return Planned(manifest.run, store.put(document.to_bytes(manifest)).text, config.digest())


def _check_cohort(new: NewRun) -> None:
    needed, weight = new.config.strategy.min_clients, sum(each.nominal_size for each in new.applicants)
    if len(new.applicants) < needed:
        raise PolicyError(
            "not enough sites for a round",
            expected=f"at least strategy.min_clients={needed}", got=len(new.applicants),
            remedy="lower strategy.min_clients",
        )  # fmt: skip
    if weight > MAX_TOTAL_WEIGHT:
        raise InputError("rows of all sites together", expected=f"at most {MAX_TOTAL_WEIGHT}", got=weight)


def _terms(new: NewRun, encoding: FixedPoint, store: ArtifactStore) -> RewardTerms | None:
    """Put the donated rows and return what the run pays for; None where it pays nothing."""
    if new.config.rewards.mode == "off":
        return None
    policies = {each.device: each.policy for each in new.applicants}
    donations = sorted((each for each in new.donations if each.labels.size), key=lambda each: each.client)
    if not donations:
        raise PolicyError(
            "rewards need donated rows", expected="a site that donates some", got="none", remedy="choose rewards=off"
        )
    for each in donations:
        if not policies[each.client].allows_unprotected:
            raise PolicyError(
                f"the policy of {policies[each.client].dataset_name} lets no row leave",
                expected="no donated rows", got=each.labels.size, remedy="choose rewards=off",
            )  # fmt: skip
    rows = validation_set(donations, encoding)
    value(encoding.quantise(new.initial), rows, encoding.fraction_bits)  # a model that cannot be scored is refused now
    data = rows.to_bytes()
    return RewardTerms(
        statistic=STATISTIC,
        pool_per_round=new.config.rewards.pool_per_round,
        validation=ArtifactRef(store.put(data).text, validation_digest(data)),
        donors=tuple(Donor(each.client, each.labels.size) for each in donations),
    )


def validation_set(donations: Sequence[Donation], encoding: FixedPoint) -> ValidationSet:
    """Return the donated rows of all donors, in their order, in fixed point."""
    features = np.concatenate([encoding.quantise({"rows": each.rows})["rows"] for each in donations])
    labels = np.concatenate([(each.labels > 0).astype(np.int32) for each in donations])
    donors = np.repeat(np.arange(len(donations), dtype=np.int32), [each.labels.size for each in donations])
    return ValidationSet(features, labels, donors)


def read_plan(store: ArtifactStore, manifest_cid: str, round_timeout_s: int) -> RunPlan:
    """Return the plan that a manifest in the store describes."""
    manifest = document.from_bytes(RunManifest, store.get(Cid.parse(manifest_cid)))
    policies = {
        member.policy.digest: document.from_bytes(DataPolicy, store.get(Cid.parse(member.policy.cid)))
        for member in manifest.cohort
    }
    return RunPlan(manifest, manifest_cid, manifest.config.digest, policies, round_timeout_s)


def _member(applicant: Applicant, store: ArtifactStore) -> CohortMember:
    policy = ArtifactRef(store.put(document.to_bytes(applicant.policy)).text, applicant.policy.digest())
    return CohortMember(
        applicant.device, applicant.organisation, applicant.dataset, policy, applicant.nominal_size,
        applicant.roster,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a whole run would cost one dataset: the noise that keeps the target, and the loss it adds up to."""

    release: Release
    run_micro_epsilon: int
    total_micro_epsilon: int
    accountant: str


def forecast(
    training: LocalTraining,
    trained_rows: int,
    policy: DataPolicy,
    earlier: Sequence[Release],
    accountant: Accountant,
) -> Forecast:
    """Price a whole run for one dataset, after its earlier releases; batches are counted by `trained_rows`."""
    batches = batches_per_epoch(trained_rows, training.batch_size)
    steps = training.steps(batches) * training.rounds
    delta = policy.delta_e12 / 1e12
    noise = 0
    if training.epsilon != "off":
        epsilon = float(training.epsilon)
        noise = accountant.calibrate(epsilon=epsilon, delta=delta, batches_per_epoch=batches, steps=steps)
    release = Release(noise, batches, steps)
    in_run = accountant.spent(merged([release]), delta)
    total = accountant.spent(merged([*earlier, release]), delta)
    return Forecast(release, micro_epsilon(in_run.epsilon), micro_epsilon(total.epsilon), total.accountant)
