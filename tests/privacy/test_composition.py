"""A real site over five rounds: charged for all of them together, with noise calibrated once for the whole run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.adapters.payloads import PlainWriter
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.adapters.training.models import initial
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.eip712 import Domain
from fedchain.core.errors import PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import Release
from fedchain.core.task import LocalTraining, Task
from fedchain.core.tensors import encode, model_digest
from fedchain.workflow.site import Site, SiteDataset
from tests.doubles.clock import CountedEntropy, ManualClock
from tests.doubles.signer import NamedSigner
from tests.doubles.site_state import MemorySiteState
from tests.privacy.synthetic import DELTA, canaries

ROUNDS, ROWS, BATCH, INPUTS = 5, 40, 8, 4
MODEL = encode(FixedPoint().quantise(initial("logistic", {"inputs": str(INPUTS)}, 0)))
TRAINING = LocalTraining(
    "logistic", {"inputs": str(INPUTS)}, 1, BATCH, "0.001", "4", round(DELTA * 1e12), "1.0", ROUNDS, 1
)


def make_site() -> tuple[Site, MemorySiteState]:
    state = MemorySiteState()
    partition = canaries([row % INPUTS for row in range(ROWS)], INPUTS)
    site = Site(
        name="synthetic",
        domain=Domain(1, bytes(20)),
        federation=bytes(32),
        aggregator=bytes(20),
        dataset=SiteDataset(b"\x0d" * 32, partition.policy, ROWS, TorchTrainer(partition)),
        device=NamedSigner("device"),
        state=state,
        accountant=PrvAccountant(),
        clock=ManualClock(),
        entropy=CountedEntropy(),
        payloads=PlainWriter(),
    )
    return site, state


def task_of(round_: int, run: bytes, training: LocalTraining = TRAINING) -> Task:
    return Task(
        chain_id=1, rounds_contract=bytes(20), federation=bytes(32), run=run, round=round_, attempt=1,
        base_model=model_digest(MODEL), deadline=2**40, fraction_bits=24, width=32, code_digest=bytes(32),
        config_digest=bytes(32), env_digest=bytes(32), training=training,
    )  # fmt: skip


def test_five_rounds_spend_the_target_of_the_run_together_and_not_each() -> None:
    site, state = make_site()
    updates = [site.contribute(task_of(round_, b"\x01" * 32), MODEL) for round_ in range(1, ROUNDS + 1)]
    spent = [each.header.dp.run_micro_epsilon for each in updates]
    assert spent == sorted(set(spent))
    assert 3_990_000 <= spent[-1] <= 4_000_000
    (release,) = {charge.release for charge in state.charges(b"\x0d" * 32)}
    assert release == Release(release.noise_multiplier_e6, 5, 5)
    assert PrvAccountant().spent([release] * ROUNDS, DELTA).epsilon <= 4


def test_a_second_run_adds_to_the_lifetime_and_the_grant_stops_it() -> None:
    site, _ = make_site()
    totals = [
        site.contribute(task_of(round_, run), MODEL).header.message.micro_epsilon_total
        for run in (b"\x01" * 32, b"\x02" * 32)
        for round_ in range(1, ROUNDS + 1)
    ]
    assert totals == sorted(set(totals))
    assert totals[-1] > 5_000_000
    greedy = replace(TRAINING, epsilon="11", rounds=1)
    with pytest.raises(PolicyError, match="grant of synthetic does not cover"):
        site.contribute(task_of(1, b"\x03" * 32, greedy), MODEL)
