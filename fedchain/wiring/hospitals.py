"""The hospitals of a simulation: each partition with the keys and the state of the site that owns it.

All simulated: they lie under one home. What a hospital could never do for others, evaluate on their held-out rows, is
done here for the report and labelled so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fedchain.adapters.datasets.partition import Floats, Partition
from fedchain.adapters.home import Home
from fedchain.adapters.keys import make_device, make_signer
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.adapters.training.evaluation import measures, scorer
from fedchain.adapters.training.modules import NO_MAKERS, Makers
from fedchain.core.digest import commitment
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.population import RosterOpening
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import decode
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.payloads import PayloadWriter
from fedchain.ports.training import Trainer
from fedchain.wiring.organisations import organisation_of
from fedchain.workflow.enrolment import Applicant
from fedchain.workflow.planning import Donation
from fedchain.workflow.site import Site, SiteDataset, SitePopulation

RANKING = frozenset({"auroc", "auprc"})
MIN_OF_A_CLASS = 5
"""Held-out rows of the rarer class below which a ranking metric is not reported."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """A partition with the keys and the state of the site that owns it. All simulated: they lie under one home."""

    partition: Partition
    applicant: Applicant
    site: Site
    database: SiteDatabase


def dataset_of(partition: Partition, state: SiteDatabase) -> bytes:
    """Return the dataset's salted commitment; the salt is made at first use and stays in the site's state."""
    return commitment("dataset-commit", state.salt(partition.card.name), partition.card.digest())


def _opening_of(partition: Partition, state: SiteDatabase) -> RosterOpening | None:
    if partition.population is None:
        return None
    name = partition.card.name
    return RosterOpening(name, state.salt(name), partition.population.roster)


@dataclass(frozen=True, slots=True)
class Admission:
    """What every site of a home meets: the ledger, the aggregator, and who trains on its partition."""

    home: Home
    identity: LedgerIdentity
    aggregator: bytes
    trainer_of: Callable[[Partition], Trainer]


def admit(partition: Partition, to: Admission, payloads: PayloadWriter) -> Hospital:
    """Return a hospital with its keys and state, made at first use."""
    home, identity = to.home, to.identity
    entropy = SystemEntropy()
    admin = make_signer(home.keys, "site", partition.name, entropy)
    device = make_device(home.keys, partition.name, entropy)
    state = SiteDatabase(home.site(partition.name) / "site.sqlite")
    dataset, population = dataset_of(partition, state), partition.population
    applicant = Applicant(
        name=partition.name,
        organisation=organisation_of(home, partition.name, admin.address),
        admin=admin,
        device_key=device,
        dataset=dataset,
        nominal_size=partition.card.nominal_size,
        policy=partition.policy,
        roster=_opening_of(partition, state),
    )
    site = Site(
        name=partition.name,
        domain=identity.rounds,
        federation=identity.federation,
        aggregator=to.aggregator,
        dataset=SiteDataset(
            dataset,
            partition.policy,
            partition.card.nominal_size,
            to.trainer_of(partition),
            None if population is None else SitePopulation(population.roster, population.tree),
        ),
        device=device,
        state=state,
        accountant=PrvAccountant(),
        clock=SystemClock(),
        entropy=entropy,
        payloads=payloads,
    )
    return Hospital(partition, applicant, site, state)


def names_of(hospitals: Sequence[Hospital]) -> dict[bytes, str]:
    """Return each device address's hospital name."""
    return {each.applicant.device: each.partition.name for each in hospitals}


def donations_of(hospitals: Sequence[Hospital]) -> tuple[Donation, ...]:
    """Return the rows that each hospital donates for validation."""
    return tuple(
        Donation(each.applicant.device, each.partition.donated_x, each.partition.donated_y) for each in hospitals
    )


def metrics_of(
    model: bytes, training: LocalTraining, hospitals: Sequence[Hospital], makers: Makers = NO_MAKERS
) -> dict[str, dict[str, float]]:
    """Evaluate a model on every hospital's held-out rows, and on all of them together: a simulation only can."""
    tensors = FixedPoint().dequantise(decode(model))
    held = [each.partition for each in hospitals if len(each.partition.test_y)]
    if not held:
        return {}
    score = scorer(training.model, training.model_options, tensors, makers)
    outputs = [score(each.test_x) for each in held]
    metrics = {
        each.name: _plain(measures(training.task, some, each.test_y), each.test_y)
        for each, some in zip(held, outputs, strict=True)
    }
    labels = np.concatenate([each.test_y for each in held])
    return metrics | {"overall": measures(training.task, np.concatenate(outputs), labels)}


def _plain(metrics: dict[str, float], labels: Floats) -> dict[str, float]:
    """Return the metrics that mean something: a ranking needs a few rows of either class."""
    positives = int((labels > 0).sum())
    is_ranked = min(positives, len(labels) - positives) >= MIN_OF_A_CLASS
    return {name: value for name, value in metrics.items() if is_ranked or name not in RANKING}
