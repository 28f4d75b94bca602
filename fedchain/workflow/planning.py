"""Planning: from a configuration and a cohort to the run's manifest, with everything it names in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.config import ExperimentConfig, decimal_text
from fedchain.core import document
from fedchain.core.aggregation import MAX_TOTAL_WEIGHT
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import CID_PROFILE, RUN_FORMAT, ArtifactRef, CohortMember, RunManifest, TensorShape
from fedchain.core.policy import DataPolicy
from fedchain.core.privacy import MICRO, Release, batches_per_epoch, merged, micro_epsilon
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, TensorSchema, encode, model_digest
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant
from fedchain.workflow.enrolment import Applicant
from fedchain.workflow.rounds import RunPlan


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a run is made with: digests of code and environment, and whether it is a simulation or a federation."""

    code_digest: bytes
    env_digest: bytes
    mode: str
    created_at: int


def local_training(config: ExperimentConfig, inputs: int) -> LocalTraining:
    """Return what every site is told to do in a round; `inputs` is the number of features of a row."""
    is_private = config.privacy.mode == "dp"
    return LocalTraining(
        model=config.model.name,
        model_options={"inputs": str(inputs)} | ({"hidden": str(config.model.hidden)} if config.model.hidden else {}),
        epochs=config.strategy.epochs,
        batch_size=config.strategy.batch_size,
        learning_rate=decimal_text(config.strategy.learning_rate),
        epsilon=decimal_text(config.privacy.epsilon) if is_private else "off",
        delta_e12=round(config.privacy.delta * 1e12),
        max_grad_norm=decimal_text(config.privacy.max_grad_norm),
        rounds=config.rounds,
        seed=config.seed,
    )


@dataclass(frozen=True, slots=True)
class NewRun:
    """What a new run is made of, before it is written down."""

    config: ExperimentConfig
    identity: LedgerIdentity
    run: bytes
    applicants: Sequence[Applicant]
    training: LocalTraining
    initial: FloatTensors
    provenance: Provenance


def write_plan(new: NewRun, store: ArtifactStore) -> str:
    """Put the initial model, the configuration, the policies and the run's manifest; return the manifest's CID.

    Raises:
        PolicyError: if there are fewer sites than a round needs: it would spend their privacy for nothing.
        InputError: if the sites have more rows than an exact sum can weigh, or the model is out of range.
    """
    _check_cohort(new)
    encoding = FixedPoint()
    model = encode(encoding.quantise(new.initial))
    schema = TensorSchema.of(new.initial)
    config = new.config
    canonical = config.canonical()
    manifest = RunManifest(
        format=RUN_FORMAT,
        profile=CID_PROFILE,
        federation=new.identity.federation,
        run=new.run,
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
        training=new.training,
        cohort=tuple(_member(each, store) for each in sorted(new.applicants, key=lambda each: each.device)),
        mode=new.provenance.mode,
        payload_encryption="none",
        created_at=new.provenance.created_at,
    )
    return store.put(document.to_bytes(manifest)).text


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
    return CohortMember(applicant.device, applicant.organisation, applicant.dataset, policy, applicant.nominal_size)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a whole run would cost one dataset: the noise that keeps the target, and the loss it adds up to."""

    release: Release
    run_micro_epsilon: int
    total_micro_epsilon: int
    accountant: str


def forecast(
    training: LocalTraining,
    nominal_size: int,
    policy: DataPolicy,
    earlier: Sequence[Release],
    accountant: Accountant,
) -> Forecast:
    """Price a whole run for one dataset, after its earlier releases."""
    batches = batches_per_epoch(nominal_size, training.batch_size)
    steps = batches * training.epochs * training.rounds
    delta = policy.delta_e12 / 1e12
    noise = 0
    if training.epsilon != "off":
        epsilon = float(training.epsilon)
        noise = accountant.calibrate(epsilon=epsilon, delta=delta, batches_per_epoch=batches, steps=steps)
    release = Release(noise, batches, steps)
    in_run = accountant.spent(merged([release]), delta)
    total = accountant.spent(merged([*earlier, release]), delta)
    return Forecast(release, micro_epsilon(in_run.epsilon), micro_epsilon(total.epsilon), total.accountant)
