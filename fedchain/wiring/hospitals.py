"""The hospitals of a simulation: each partition with the keys and the state of the site that owns it.

All simulated: they lie under one home. What a hospital could never do for others, evaluate on their held-out rows, is
done here for the report and labelled so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.home import Home
from fedchain.adapters.keys import make_device, make_signer
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.adapters.training.evaluation import Metrics, evaluate, predict
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.config import DataConfig
from fedchain.core.digest import commitment
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import decode
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.payloads import PayloadWriter
from fedchain.wiring.organisations import organisation_of
from fedchain.workflow.enrolment import Applicant
from fedchain.workflow.planning import Donation
from fedchain.workflow.site import Site, SiteDataset

MIN_OF_A_CLASS = 5
"""Held-out rows of the rarer class below which a ranking metric is not reported."""


@dataclass(frozen=True, slots=True)
class Hospital:
    """A partition with the keys and the state of the site that owns it. All simulated: they lie under one home."""

    partition: Partition
    applicant: Applicant
    site: Site
    database: SiteDatabase


def load(data: DataConfig) -> tuple[Partition, ...]:
    """Return the partitions that a configuration names, one a hospital.

    Raises:
        InputError: if a file is missing or altered, or the split is unknown.
    """
    return load_heart(None if data.directory is None else Path(data.directory), data.split)


def dataset_of(partition: Partition, state: SiteDatabase) -> bytes:
    """Return the dataset's salted commitment; the salt is made at first use and stays in the site's state."""
    return commitment("dataset-commit", state.salt(partition.card.name), partition.card.digest())


def admit(
    partition: Partition, home: Home, identity: LedgerIdentity, aggregator: bytes, payloads: PayloadWriter
) -> Hospital:
    """Return a hospital with its keys and state, made at first use."""
    entropy = SystemEntropy()
    admin = make_signer(home.keys, "site", partition.name, entropy)
    device = make_device(home.keys, partition.name, entropy)
    state = SiteDatabase(home.site(partition.name) / "site.sqlite")
    dataset = dataset_of(partition, state)
    applicant = Applicant(
        name=partition.name,
        organisation=organisation_of(home, partition.name, admin.address),
        admin=admin,
        device_key=device,
        dataset=dataset,
        nominal_size=partition.card.nominal_size,
        policy=partition.policy,
    )
    site = Site(
        name=partition.name,
        domain=identity.rounds,
        federation=identity.federation,
        aggregator=aggregator,
        dataset=SiteDataset(dataset, partition.policy, partition.card.nominal_size, TorchTrainer(partition)),
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


def metrics_of(model: bytes, training: LocalTraining, hospitals: Sequence[Hospital]) -> dict[str, dict[str, float]]:
    """Evaluate a model on every hospital's held-out rows, and on all of them together: a simulation only can."""
    tensors = FixedPoint().dequantise(decode(model))
    partitions = [each.partition for each in hospitals]
    logits = [predict(training.model, training.model_options, tensors, each.test_x) for each in partitions]
    metrics = {
        each.name: _plain(evaluate(scores, each.test_y), each) for each, scores in zip(partitions, logits, strict=True)
    }
    labels = np.concatenate([each.test_y for each in partitions])
    return metrics | {"overall": _plain(evaluate(np.concatenate(logits), labels), None)}


def _plain(metrics: Metrics, partition: Partition | None) -> dict[str, float]:
    """Return the metrics that mean something: a ranking needs a few rows of either class."""
    plain = {"rows": float(metrics.rows), "accuracy": metrics.accuracy}
    rarer = MIN_OF_A_CLASS if partition is None else min(_positives(partition), metrics.rows - _positives(partition))
    if metrics.auroc is not None and metrics.auprc is not None and rarer >= MIN_OF_A_CLASS:
        plain |= {"auroc": metrics.auroc, "auprc": metrics.auprc}
    return plain


def _positives(partition: Partition) -> int:
    return int((partition.test_y > 0).sum())
