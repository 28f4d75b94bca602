"""A site's grants: what a run, an attempt or a crash costs, and that no interleaving passes the grant."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import PolicyError
from fedchain.core.messages import UNBOUNDED
from fedchain.core.policy import GrantKind
from fedchain.core.privacy import MICRO, Release, micro_epsilon
from fedchain.ports.site_state import ChargeKey
from fedchain.ports.training import Spent
from tests.doubles.power import PowerCutError, at
from tests.doubles.training import AddingAccountant
from tests.workflow.hospital import MODEL, TRAINING, world

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
    with pytest.raises(PolicyError, match=r"hospital does not cover.*at most 7 over the dataset's lifetime.*8\.0000"):
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


@dataclass(slots=True)
class Meeting:
    """An accountant whose callers wait for each other before they price: two at once, unless a lock keeps one out."""

    accountant: AddingAccountant
    together: threading.Barrier

    def spent(self, releases: Sequence[Release], delta: float) -> Spent:
        with contextlib.suppress(threading.BrokenBarrierError):
            self.together.wait(timeout=0.2)
        return self.accountant.spent(releases, delta)

    def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
        return self.accountant.calibrate(epsilon=epsilon, delta=delta, batches_per_epoch=batches_per_epoch, steps=steps)


def test_of_two_runs_that_want_the_last_of_a_grant_at_once_one_gets_it() -> None:
    here = world(grant=3.0)
    meeting = Meeting(here.accountant, threading.Barrier(2))
    refusals: list[str] = []

    def contribute(run: bytes) -> None:
        try:
            replace(here.site, accountant=meeting).contribute(here.task(run=run), MODEL)
        except PolicyError as error:
            refusals.append(str(error))

    threads = [threading.Thread(target=contribute, args=(run,)) for run in (b"\x0a" * 32, b"\x0b" * 32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refusals) == 1
    assert [charge.micro_epsilon_total for charge in here.state.charged.values()] == [2 * MICRO]
    assert len(here.state.releases) == 1
