"""What a run would do and spend, before it does."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.home import Home
from fedchain.adapters.identity import code_digest, env_digest
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.adapters.training import models
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.config import ExperimentConfig
from fedchain.core.digest import ZERO
from fedchain.core.privacy import NO_MECHANISM, SUBSAMPLED_GAUSSIAN, Release
from fedchain.core.task import LocalTraining
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.bench import Bench, check_model, open_bench, starting_model
from fedchain.wiring.hospitals import Hospital, dataset_of, donations_of
from fedchain.wiring.preflight import check
from fedchain.workflow.planning import NewRun, Provenance, forecast, write_plan
from fedchain.workflow.run_state import Planned
from fedchain.workflow.site import check_grant
from fedchain.workflow.summary import PlanSummary, PrivacySummary

MODE = "simulation"


def plan(config: ExperimentConfig, home: Path) -> PlanSummary:
    """Return what a run would spend, without running it or writing anything.

    Raises:
        InputError: if the data cannot be read or the parameters are out of range.
    """
    bench = open_bench(config, Path.cwd())
    training = bench.training(config)
    check_model(training, bench)
    check(config, bench)
    schema = models.schema(training.model, training.model_options, bench.makers)
    privacy = tuple(_forecast(training, each, Home(home)) for each in bench.partitions)
    digest, is_debug = "0x" + config.digest().hex(), config.debug.mode == "on"
    return PlanSummary(config.experiment, digest, config.rounds, schema.parameters, privacy, is_debug)


def _forecast(training: LocalTraining, partition: Partition, home: Home) -> PrivacySummary:
    policy = partition.policy
    price = forecast(training, partition.trained_rows, policy, _earlier(partition, home), PrvAccountant())
    return PrivacySummary(
        client=partition.name,
        micro_epsilon=price.run_micro_epsilon,
        micro_epsilon_total=price.total_micro_epsilon,
        delta_e12=policy.delta_e12,
        unit=policy.unit,
        mechanism=SUBSAMPLED_GAUSSIAN if price.release.is_protected else NO_MECHANISM,
        noise_multiplier_e6=price.release.noise_multiplier_e6,
        batches_per_epoch=price.release.batches_per_epoch,
        steps=price.release.steps,
        accountant=price.accountant,
        grant=policy.grant.value,
        micro_epsilon_grant=policy.micro_epsilon_grant,
    )


def _earlier(partition: Partition, home: Home) -> list[Release]:
    path = home.site(partition.name) / "site.sqlite"
    if not path.exists():
        return []
    with closing(SiteDatabase(path)) as state:
        return [charge.release for charge in state.charges(dataset_of(partition, state))]


def check_grants(training: LocalTraining, hospitals: Sequence[Hospital]) -> None:
    """Refuse a run that some site's grant would stop half-way, before anything is spent."""
    for each in hospitals:
        earlier = [charge.release for charge in each.site.state.charges(each.applicant.dataset)]
        price = forecast(training, each.partition.trained_rows, each.applicant.policy, earlier, each.site.accountant)
        check_grant(
            each.partition.name, each.partition.policy, run=price.run_micro_epsilon, total=price.total_micro_epsilon
        )


@dataclass(frozen=True, slots=True)
class NewSimulation:
    """What a run is asked to do, how its sites train, and what the experimenter brings to it."""

    config: ExperimentConfig
    training: LocalTraining
    bench: Bench


def new_run(
    new: NewSimulation, identity: LedgerIdentity, hospitals: Sequence[Hospital], store: ArtifactStore
) -> Planned:
    """Write the plan of a new run; return its first journal body."""
    salt, config, training = SystemEntropy().secret(32), new.config, new.training
    initial = starting_model(config, new.bench)
    strategy = ZERO if new.bench.rule is None else new.bench.rule.sources
    provenance = Provenance(code_digest(own=new.bench.sources), env_digest(), MODE, SystemClock().now(), strategy)
    applicants = [each.applicant for each in hospitals]
    run = NewRun(config, identity, salt, applicants, training, initial, provenance, donations_of(hospitals))
    return write_plan(run, store)
