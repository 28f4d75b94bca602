"""A site: it charges before it trains, persists before it releases, and signs nothing that contradicts its memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.cid import RAW, cid_of
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.errors import FedchainError, InputError, IntegrityError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.merkle import MerkleTree
from fedchain.core.messages import UNBOUNDED, InclusionPromise, RoundReceipt
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.privacy import MICRO, Release, micro_epsilon
from fedchain.core.record import LinkContext, LinkKind, RoundLink, round_hash
from fedchain.core.signatures import recover
from fedchain.core.task import LocalTraining, RoundProof, SignedPromise, SignedUpdate, Task, leaf_of
from fedchain.core.tensors import FloatTensors, decode, encode, model_digest
from fedchain.ports.site_state import ChargeKey, Evidence, SiteState
from fedchain.ports.training import LocalRound
from fedchain.workflow.site import Site, SiteDataset
from tests.doubles.clock import CountedEntropy, ManualClock
from tests.doubles.power import MortalState, Power, PowerCutError, at
from tests.doubles.signer import NamedSigner
from tests.doubles.site_state import MemorySiteState
from tests.doubles.training import AddingAccountant, NamedTrainer

DOMAIN: Final = Domain(31_337, b"\x02" * 20)
FEDERATION, RUN, DATASET = b"\xfe" * 32, b"\x0a" * 32, b"\xda" * 32
AGGREGATOR: Final = NamedSigner("aggregator")
DEVICE: Final = NamedSigner("site-1")
MODEL: Final = encode(FixedPoint().quantise({"bias": np.array([0.5, -1.0])}))
ROWS: Final = 100
TRAINING: Final = LocalTraining("logistic", {}, 1, 50, "0.1", "4.0", 10_000_000, "1.0", 2, 7)
"""Two rounds of two steps each, at rate 1/2: with a target of 4 each round costs 2."""


@dataclass(slots=True)
class World:
    """A site with all that a test may look at or take away."""

    policy: DataPolicy
    clock: ManualClock = field(default_factory=ManualClock)
    power: Power = field(default_factory=Power)
    state: MemorySiteState = field(default_factory=MemorySiteState)
    trainer: NamedTrainer = field(default_factory=lambda: NamedTrainer("site-1"))
    accountant: AddingAccountant = field(default_factory=AddingAccountant)

    @property
    def site(self) -> Site:
        """The site as it is after its process was started again."""
        state: SiteState = MortalState(self.state, self.power)
        return Site(
            "hospital", DOMAIN, FEDERATION, AGGREGATOR.address,
            SiteDataset(DATASET, self.policy, ROWS, self.trainer), DEVICE, state, self.accountant, self.clock,
            CountedEntropy(str(len(self.trainer.calls)).encode()),
        )  # fmt: skip

    def task(self, round_: int = 1, training: LocalTraining = TRAINING, **changes: Any) -> Task:
        task = Task(
            DOMAIN.chain_id, DOMAIN.contract, FEDERATION, RUN, round_, 1, model_digest(MODEL),
            self.clock.now() + 600, 24, 32, b"\xc0" * 32, b"\xcf" * 32, b"\xee" * 32, training,
        )  # fmt: skip
        return replace(task, **changes)

    def contribute(self, round_: int = 1, training: LocalTraining = TRAINING, **changes: Any) -> SignedUpdate:
        return self.site.contribute(self.task(round_, training, **changes), MODEL)


def world(
    kind: GrantKind = GrantKind.LIFETIME,
    *,
    grant: float = 100.0,
    delta_e12: int = 10_000_000,
    unprotected: bool = False,
) -> World:
    return World(DataPolicy("rows", "made up", kind, micro_epsilon(grant), delta_e12, "example", unprotected))


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


# ------------------------------------------------------------------ grants


def test_the_noise_of_a_run_is_calibrated_once() -> None:
    here = world()
    noises = {here.contribute(round_).header.dp.noise_multiplier_e6 for round_ in (1, 2)}
    assert noises == {500_000}
    later = here.contribute(3, replace(TRAINING, epsilon="400.0"))
    assert later.header.dp.noise_multiplier_e6 == 500_000


def test_a_lifetime_grant_is_spent_by_all_runs_together() -> None:
    here = world(grant=7.0)
    here.contribute(1)
    here.contribute(2)
    here.contribute(1, run=b"\x0b" * 32)
    charged = dict(here.state.charged)
    with pytest.raises(PolicyError, match=r"hospital is exhausted.*at most 7 over the dataset's lifetime.*8\.0000"):
        here.contribute(2, run=b"\x0b" * 32)
    assert here.state.charged == charged
    assert len(here.trainer.calls) == 3


def test_a_sandbox_grant_caps_each_run_and_reports_the_lifetime() -> None:
    here = world(GrantKind.SANDBOX, grant=5.0)
    runs = (b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32)
    *_, last = [here.contribute(round_, run=run) for run in runs for round_ in (1, 2)]
    assert (last.header.dp.run_micro_epsilon, last.header.message.micro_epsilon_total) == (4 * MICRO, 12 * MICRO)
    with pytest.raises(PolicyError, match=r"at most 5 in one run.*6\.0000"):
        here.contribute(3, run=b"\x0c" * 32)


def test_a_charge_may_reach_the_grant_exactly() -> None:
    here = world(grant=4.0)
    here.contribute(1)
    assert here.contribute(2).header.message.micro_epsilon_total == 4 * MICRO
    here = world(grant=3.999999)
    here.contribute(1)
    with pytest.raises(PolicyError):
        here.contribute(2)


def test_another_attempt_at_a_round_is_another_charge() -> None:
    here = world()
    here.contribute(1)
    again = here.contribute(1, attempt=2)
    assert again.header.message.micro_epsilon_total == 4 * MICRO
    assert again.header.message.nonce == 2


def test_epsilon_at_another_delta_is_refused() -> None:
    here = world(delta_e12=1_000)
    with pytest.raises(PolicyError, match=r"one delta only.*privacy\.delta=1000e-12.*10000000e-12"):
        here.contribute()
    assert here.state.charged == {}


def test_training_without_privacy_is_refused_where_the_policy_does_not_allow_it() -> None:
    here = world()
    with pytest.raises(PolicyError, match="no training without differential privacy"):
        here.contribute(1, replace(TRAINING, epsilon="off"))
    assert here.state.charged == {}


def test_training_without_privacy_is_recorded_as_an_unbounded_loss_for_ever() -> None:
    here = world(unprotected=True)
    signed = here.contribute(1, replace(TRAINING, epsilon="off"))
    dp = signed.header.dp
    assert (signed.header.message.micro_epsilon_total, dp.run_micro_epsilon) == (UNBOUNDED, UNBOUNDED)
    assert (dp.mechanism, dp.noise_multiplier_e6, dp.max_grad_norm_e6) == ("none", 0, 0)
    assert (dp.accountant, dp.noise_source) == ("none", "none")
    later = here.contribute(1, run=b"\x0b" * 32)
    assert (later.header.message.micro_epsilon_total, later.header.dp.run_micro_epsilon) == (UNBOUNDED, 2 * MICRO)


def test_a_total_never_decreases_even_where_an_accountant_finds_a_tighter_bound_later() -> None:
    here = world()
    first = here.contribute(1)

    @dataclass(frozen=True, slots=True)
    class Tighter:
        accountant: AddingAccountant

        def spent(self, releases: Sequence[Release], delta: float) -> Any:
            return replace(self.accountant.spent(releases, delta), epsilon=0.5)

        def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
            raise AssertionError(f"calibrated already: {epsilon}, {delta}, {batches_per_epoch}, {steps}")

    site = replace(here.site, accountant=Tighter(here.accountant))
    second = site.contribute(here.task(2), MODEL)
    assert second.header.message.micro_epsilon_total == first.header.message.micro_epsilon_total


EVENTS = st.lists(
    st.tuples(
        st.integers(1, 3),  # run
        st.integers(1, 4),  # round
        st.integers(1, 2),  # attempt
        st.sampled_from(["", "before charge", "after charge", "before release", "after release"]),
        st.integers(1, 3),  # epochs
    ),
    max_size=14,
)


@given(events=EVENTS, grant=st.integers(1, 12), kind=st.sampled_from(GrantKind))
def test_spending_never_passes_the_grant_however_runs_attempts_and_crashes_interleave(
    events: list[tuple[int, int, int, str, int]], grant: int, kind: GrantKind
) -> None:
    here = world(kind, grant=float(grant))
    seen: dict[ChargeKey, bytes] = {}
    for number, round_, attempt, moment, epochs in events:
        run = bytes([number]) * 32
        here.power.restart(at(moment))
        try:
            signed = here.contribute(round_, replace(TRAINING, epochs=epochs), run=run, attempt=attempt)
        except (PolicyError, PowerCutError):
            continue
        key = ChargeKey(run, round_, attempt)
        assert seen.setdefault(key, signed.payload) == signed.payload
        message, dp = signed.header.message, signed.header.dp
        assert micro_epsilon(here.accountant.spent([dp.release], 1e-5).epsilon) <= dp.run_micro_epsilon
        assert dp.run_micro_epsilon <= message.micro_epsilon_total
    out = [(key, here.state.charged[key].release) for key in here.state.releases]
    total = micro_epsilon(here.accountant.spent([each for _, each in out], 1e-5).epsilon)
    recorded = [charge.micro_epsilon_total for charge in here.state.charged.values()]
    assert recorded == sorted(recorded)
    assert total <= max(recorded, default=0)
    if kind is GrantKind.LIFETIME:
        assert max(recorded, default=0) <= grant * MICRO
    for run in {key.run for key, _ in out}:
        in_run = micro_epsilon(here.accountant.spent([each for key, each in out if key.run == run], 1e-5).epsilon)
        claimed = max(charge.run_micro_epsilon for charge in here.state.charged.values() if charge.key.run == run)
        assert in_run <= claimed <= grant * MICRO


# ------------------------------------------------------------------ promises


def promise_of(signer: NamedSigner, leaf: bytes, round_: int = 1) -> SignedPromise:
    promise = InclusionPromise(FEDERATION, RUN, round_, leaf, 1_800_000_600)
    return SignedPromise(promise, signer.sign(signing_digest(DOMAIN, promise)))


def test_the_aggregators_promise_is_kept_as_it_came() -> None:
    here = world()
    signed = promise_of(AGGREGATOR, b"\x1e" * 32)
    here.site.accept_promise(signed)
    here.site.accept_promise(signed)
    kept = here.state.kept(Evidence.PROMISE, RUN, 1)
    assert kept is not None
    assert document.from_bytes(SignedPromise, kept) == signed


def test_a_promise_of_anybody_else_is_refused() -> None:
    here = world()
    genuine = promise_of(AGGREGATOR, b"\x1e" * 32)
    moved = replace(genuine, promise=replace(genuine.promise, round=2))
    for signed in (promise_of(NamedSigner("a stranger"), b"\x1e" * 32), moved, replace(genuine, signature=b"")):
        with pytest.raises(FedchainError, match=r"promise|signature"):
            here.site.accept_promise(signed)
    assert here.state.evidence == {}


def test_a_second_promise_with_another_leaf_is_refused() -> None:
    here = world()
    here.site.accept_promise(promise_of(AGGREGATOR, b"\x1e" * 32))
    with pytest.raises(IntegrityError):
        here.site.accept_promise(promise_of(AGGREGATOR, b"\x1f" * 32))


# ------------------------------------------------------------------ receipts


def proof_of(here: World, round_: int, previous: bytes, *, others: Sequence[bytes] = (b"\x0e" * 32,)) -> RoundProof:
    """Contribute to a round and return the proof of a link that includes it."""
    signed = here.contribute(round_)
    leaf = leaf_of(DOMAIN, signed.header, DEVICE.address, RAW)
    tree = MerkleTree.of([leaf, *others])
    return RoundProof(
        int(LinkKind.SEALED), RUN, round_, previous, b"\x4e" * 32, tree.root, ZERO, signed.header.message.base_model,
        b"\x3d" * 32, b"\x3a" * 32, 1 + len(others), 0, 1, RAW, tree.proof(leaf),
    )  # fmt: skip


def hash_of(proof: RoundProof) -> bytes:
    link = RoundLink(
        proof.run, proof.round, LinkKind(proof.kind), proof.updates_root, proof.rejected_root, proof.base_model,
        proof.model_digest, proof.manifest_digest, proof.accepted, proof.rejected,
    )  # fmt: skip
    return round_hash(link, LinkContext(DOMAIN, FEDERATION, proof.previous_hash, proof.registry_head))


def closing(proof: RoundProof, previous: bytes) -> RoundProof:
    return replace(
        proof, kind=int(LinkKind.CLOSED), round=proof.round + 1, previous_hash=previous, updates_root=ZERO, accepted=0,
        base_model=proof.model_digest, proof=(),
    )  # fmt: skip


def signer_of(proof: RoundProof, signature: bytes) -> bytes:
    receipt = RoundReceipt(FEDERATION, proof.run, proof.round, hash_of(proof))
    return recover(signing_digest(DOMAIN, receipt), signature)


def test_a_round_that_includes_the_sites_update_is_co_signed_and_its_hash_kept() -> None:
    here = world()
    proof = proof_of(here, 1, ZERO)
    signature = here.site.countersign(proof)
    assert signer_of(proof, signature) == DEVICE.address
    assert here.state.kept(Evidence.RECEIPT, RUN, 1) == hash_of(proof)
    assert here.site.countersign(proof) == signature


def test_each_round_and_the_closing_link_are_co_signed_in_their_order() -> None:
    here = world()
    first = proof_of(here, 1, ZERO)
    second = proof_of(here, 2, hash_of(first))
    last = closing(second, hash_of(second))
    for proof in (first, second, last):
        assert signer_of(proof, here.site.countersign(proof)) == DEVICE.address


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: replace(proof, updates_root=b"\x0e" * 32),
        lambda proof: replace(proof, updates_root=ZERO, proof=()),
        lambda proof: replace(proof, proof=()),
        lambda proof: replace(proof, proof=(b"short",)),
        lambda proof: replace(proof, attempt=2),
        lambda proof: replace(proof, round=2),
        lambda proof: replace(proof, payload_codec=0x70),
        lambda proof: replace(proof, base_model=b"\x0e" * 32),
        lambda proof: replace(proof, run=b"\x0e" * 32),
    ],
    ids=["other root", "empty tree", "no proof", "bad proof", "attempt", "round", "codec", "base", "run"],
)
def test_a_round_that_omits_the_sites_update_is_not_co_signed(change: Callable[[RoundProof], RoundProof]) -> None:
    here = world()
    proof = change(proof_of(here, 1, ZERO))
    with pytest.raises(IntegrityError):
        here.site.countersign(proof)
    assert here.state.evidence == {}


def test_a_second_hash_for_a_round_is_a_fork_and_not_co_signed() -> None:
    here = world()
    proof = proof_of(here, 1, ZERO)
    here.site.countersign(proof)
    for fork in (
        replace(proof, model_digest=b"\x0f" * 32), replace(proof, registry_head=ZERO), replace(proof, rejected=1),
    ):  # fmt: skip
        with pytest.raises(IntegrityError):
            here.site.countersign(fork)
    assert here.state.kept(Evidence.RECEIPT, RUN, 1) == hash_of(proof)


def test_a_round_that_does_not_follow_the_co_signed_one_is_not_co_signed() -> None:
    here = world()
    first = proof_of(here, 1, ZERO)
    here.site.countersign(first)
    with pytest.raises(IntegrityError, match="does not follow"):
        here.site.countersign(proof_of(here, 2, b"\x0b" * 32))
    with pytest.raises(IntegrityError, match="does not follow"):
        here.site.countersign(closing(first, ZERO))
    assert here.state.kept(Evidence.RECEIPT, RUN, 2) is None


@pytest.mark.parametrize(
    "changes",
    [{"kind": 0}, {"kind": 4}, {"kind": -1}, {"round": -1}, {"previous_hash": b""}, {"accepted": 2**32}],
    ids=repr,
)
def test_a_link_that_no_ledger_would_take_is_not_co_signed(changes: dict[str, Any]) -> None:
    here = world()
    proof = closing(proof_of(here, 1, ZERO), ZERO)
    with pytest.raises(FedchainError):
        here.site.countersign(replace(proof, **changes))
    assert here.state.evidence == {}
