"""A site: it refuses what makes no sense, charges before it trains, and persists before it releases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fedchain.core.cid import cid_of
from fedchain.core.eip712 import signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.privacy import MICRO, Release
from fedchain.core.signatures import recover
from fedchain.core.task import LocalTraining, SignedUpdate
from fedchain.core.tensors import FloatTensors, decode, encode
from fedchain.ports.site_state import ChargeKey
from fedchain.ports.training import LocalRound
from tests.doubles.power import PowerCutError, at
from tests.doubles.training import NamedTrainer
from tests.workflow.hospital import DATASET, DEVICE, DOMAIN, FEDERATION, MODEL, ROWS, RUN, TRAINING, world

# ------------------------------------------------------------------ the update


def test_an_update_is_signed_by_the_device_over_what_the_task_asked_and_the_payload_holds() -> None:
    here = world()
    task = here.task()
    signed = here.site.contribute(task, MODEL)
    message, dp = signed.header.message, signed.header.dp
    assert recover(signing_digest(DOMAIN, message), signed.header.signature) == DEVICE.address
    assert (signed.header.chain_id, signed.header.rounds_contract) == (DOMAIN.chain_id, DOMAIN.contract)
    assert (message.federation, message.run, message.round, message.nonce) == (FEDERATION, RUN, 1, 1)
    assert (message.base_model, message.deadline) == (task.base_model, task.deadline)
    assert (message.code_digest, message.config_digest, message.env_digest) == (
        task.code_digest, task.config_digest, task.env_digest,
    )  # fmt: skip
    assert (message.dataset, message.policy, message.weight) == (DATASET, here.policy.digest(), ROWS)
    assert message.payload_cid == cid_of(signed.payload).digest
    assert message.update_commit == Envelope.from_bytes(signed.payload).commitment()
    assert message.dp_params == dp.digest()
    assert (dp.noise_multiplier_e6, dp.batches_per_epoch, dp.steps) == (500_000, 2, 2)
    assert (dp.run_micro_epsilon, message.micro_epsilon_total) == (2 * MICRO, 2 * MICRO)
    assert (dp.delta_e12, dp.unit, dp.max_grad_norm_e6, dp.adjacency) == (10_000_000, "example", MICRO, "zero-out")


def test_the_payload_holds_the_trained_update_in_fixed_point() -> None:
    here = world()
    signed = here.contribute()
    base = FixedPoint().dequantise(decode(MODEL))
    trained = NamedTrainer("site-1").train(base, here.trainer.calls[0])
    expected = encode(FixedPoint().quantise(trained))
    assert Envelope.from_bytes(signed.payload).update == expected


def test_two_rounds_have_different_salts() -> None:
    here = world()
    salts = {Envelope.from_bytes(here.contribute(round_).payload).salt for round_ in (1, 2)}
    assert len(salts) == 2


# ------------------------------------------------------------------ what a site refuses


@pytest.mark.parametrize(
    "changes",
    [{"chain_id": 1}, {"rounds_contract": b"\x03" * 20}, {"federation": b"\x03" * 32}],
    ids=["another chain", "another contract", "another federation"],
)
def test_a_task_of_another_ledger_is_refused_before_anything_is_charged(changes: dict[str, Any]) -> None:
    here = world()
    with pytest.raises(InputError, match="another ledger"):
        here.contribute(**changes)
    assert (here.state.charged, here.trainer.calls) == ({}, [])


def test_a_task_past_its_deadline_is_refused_before_anything_is_charged() -> None:
    here = world()
    with pytest.raises(InputError, match="past its deadline"):
        here.contribute(deadline=here.clock.now() - 1)
    assert here.state.charged == {}


def test_a_task_is_answered_in_its_last_second() -> None:
    here = world()
    assert here.contribute(deadline=here.clock.now()).header.message.deadline == here.clock.now()


def test_a_model_that_is_not_the_base_is_refused_before_anything_is_charged() -> None:
    here = world()
    with pytest.raises(InputError, match="base model"):
        here.site.contribute(here.task(), MODEL[:-1] + b"\x01")
    assert here.state.charged == {}


@pytest.mark.parametrize(
    "training",
    [
        replace(TRAINING, epochs=0),
        replace(TRAINING, epochs=-100),
        replace(TRAINING, epochs=-100, rounds=-2),
        replace(TRAINING, batch_size=0),
        replace(TRAINING, batch_size=-1),
        replace(TRAINING, rounds=0),
        replace(TRAINING, epsilon="none of it"),
        replace(TRAINING, epsilon="nan"),
        replace(TRAINING, epsilon="inf"),
        replace(TRAINING, epsilon="-1"),
        replace(TRAINING, epsilon=""),
        replace(TRAINING, max_grad_norm="wide"),
        replace(TRAINING, max_grad_norm="nan"),
        replace(TRAINING, max_grad_norm="1e999999"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("is_later", [False, True], ids=["first task", "noise already calibrated"])
def test_training_that_makes_no_sense_is_refused_before_anything_is_charged(
    training: LocalTraining, is_later: bool
) -> None:
    here = world()
    if is_later:
        here.contribute(1)
    before = dict(here.state.charged)
    with pytest.raises(InputError):
        here.contribute(2, training)
    assert here.state.charged == before


@pytest.mark.parametrize("changes", [{"fraction_bits": 0}, {"fraction_bits": 99}, {"width": 64}], ids=repr)
def test_an_encoding_that_does_not_exist_is_refused_before_anything_is_charged(changes: dict[str, Any]) -> None:
    here = world()
    with pytest.raises(InputError):
        here.contribute(**changes)
    assert here.state.charged == {}


# ------------------------------------------------------------------ order: charge, train, persist, release


def test_the_charge_is_durable_before_training_and_the_update_before_it_is_handed_out() -> None:
    here = world()
    order: list[str] = []

    @dataclass(frozen=True, slots=True)
    class Witness:
        trainer: NamedTrainer

        def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
            order.append(f"train with {len(here.state.charged)} charged and {len(here.state.releases)} released")
            return self.trainer.train(base, local)

    site = replace(here.site, dataset=replace(here.site.dataset, trainer=Witness(here.trainer)))
    site.contribute(here.task(), MODEL)
    assert order == ["train with 1 charged and 0 released"]
    assert here.power.passed == [
        "before noise multiplier", "before charge", "after charge", "before release", "after release",
    ]  # fmt: skip


def test_an_update_that_was_released_is_sent_again_byte_for_byte() -> None:
    here = world()
    first = here.contribute()
    assert here.contribute() == first
    assert len(here.trainer.calls) == 1
    assert len(here.state.charged) == 1


def test_of_two_processes_that_answer_at_once_both_hand_out_the_update_that_was_released_first() -> None:
    here = world()
    others: list[SignedUpdate] = []

    @dataclass(frozen=True, slots=True)
    class Overtaken:
        trainer: NamedTrainer

        def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
            others.append(here.site.contribute(here.task(), MODEL))
            return self.trainer.train(base, local)

    site = replace(here.site, dataset=replace(here.site.dataset, trainer=Overtaken(here.trainer)))
    assert site.contribute(here.task(), MODEL) == others[0]
    assert len(here.state.releases) == len(here.state.charged) == 1


def test_an_update_that_was_persisted_and_not_handed_out_is_sent_after_the_crash() -> None:
    here = world()
    here.power.restart(at("after release"))
    with pytest.raises(PowerCutError):
        here.contribute()
    (persisted,) = here.state.releases.values()
    here.power.restart()
    signed = here.contribute()
    assert persisted.endswith(signed.payload)
    assert len(here.trainer.calls) == 1


@pytest.mark.parametrize("moment", ["after charge", "before release"])
def test_an_attempt_that_died_before_its_release_is_trained_again_with_fresh_noise_on_the_same_charge(
    moment: str,
) -> None:
    here, calm = world(), world()
    here.power.restart(at(moment))
    with pytest.raises(PowerCutError):
        here.contribute()
    assert here.state.releases == {}
    charged = dict(here.state.charged)
    here.trainer.calls.append(here.trainer.calls[0] if here.trainer.calls else _local())
    here.power.restart()
    signed = here.contribute()
    assert here.state.charged == charged
    assert len(charged) == 1
    update = Envelope.from_bytes(signed.payload).update
    assert update != Envelope.from_bytes(calm.contribute().payload).update
    assert signed.header.message.micro_epsilon_total == 2 * MICRO


def _local() -> LocalRound:
    return LocalRound(TRAINING, Release(500_000, 2, 2), 1, ROWS)


def test_a_trainer_that_fails_leaves_the_charge_and_no_update() -> None:
    here = world()

    @dataclass(frozen=True, slots=True)
    class Failing:
        def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
            assert (set(base), local) == ({"bias"}, _local())
            raise InputError("model.inputs", expected="4 features", got="13")

    site = replace(here.site, dataset=replace(here.site.dataset, trainer=Failing()))
    with pytest.raises(InputError, match="features"):
        site.contribute(here.task(), MODEL)
    assert len(here.state.charged) == 1
    assert here.state.releases == {}


def test_an_update_that_does_not_fit_fixed_point_is_not_released() -> None:
    here = world()

    @dataclass(frozen=True, slots=True)
    class Exploding:
        value: float

        def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
            assert local.nominal_size == ROWS
            return {name: np.full_like(array, self.value) for name, array in base.items()}

    for value in (float("nan"), float("inf"), 128.0):
        site = replace(here.site, dataset=replace(here.site.dataset, trainer=Exploding(value)))
        with pytest.raises(InputError, match="fixed point"):
            site.contribute(here.task(), MODEL)
    assert here.state.releases == {}


def test_a_damaged_persisted_update_is_reported_and_never_sent() -> None:
    here = world()
    here.contribute()
    key = ChargeKey(RUN, 1, 1)
    here.state.releases[key] = b"\x00\x00\x00\x02{}"
    with pytest.raises(IntegrityError, match="damaged"):
        here.contribute()
