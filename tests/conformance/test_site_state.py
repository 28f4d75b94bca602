"""What every site state does, whatever it is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedchain.adapters.site_database import SiteDatabase
from fedchain.core.errors import IntegrityError
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import Release
from fedchain.ports.site_state import Charge, ChargeKey, Evidence, SiteState
from tests.doubles.site_state import MemorySiteState

RUN, OTHER_RUN = b"\x01" * 32, b"\x02" * 32
DATASET, OTHER_DATASET = b"\x0d" * 32, b"\x0e" * 32
MakeState = Callable[[], SiteState]


def charge_of(round_: int, *, run: bytes = RUN, attempt: int = 1, dataset: bytes = DATASET) -> Charge:
    return Charge(ChargeKey(run, round_, attempt), dataset, Release(10**6, 7, 7), 10 * round_, 5 * round_, "prv")


@pytest.fixture(params=["memory", "sqlite"])
def make_state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeState]:
    databases: list[SiteDatabase] = []

    def make() -> SiteState:
        if request.param == "memory":
            return MemorySiteState()
        databases.append(SiteDatabase(tmp_path / f"site{len(databases)}" / "site.sqlite"))
        return databases[-1]

    yield make
    for each in databases:
        each.close()


@pytest.fixture
def state(make_state: MakeState) -> SiteState:
    return make_state()


def test_a_new_site_remembers_nothing(state: SiteState) -> None:
    key = ChargeKey(RUN, 1, 1)
    assert list(state.charges(DATASET)) == []
    assert state.released(key) is None
    assert state.noise_multiplier(RUN, DATASET) is None
    assert state.kept(Evidence.RECEIPT, RUN, 1) is None


@pytest.mark.parametrize("size", [0, 1, 9999, 10_000, 10_001])
def test_the_start_of_a_released_update_can_be_read_alone(state: SiteState, size: int) -> None:
    key, update = ChargeKey(RUN, 1, 1), bytes(range(250)) * 40
    assert state.released_start(key, size) is None
    state.release(key, update, b"control")
    assert state.released_start(key, size) == (update[:size], 10_000)


charges = st.builds(
    Charge,
    key=st.builds(
        ChargeKey,
        run=st.binary(min_size=32, max_size=32),
        round=st.integers(1, 2**63 - 1),
        attempt=st.integers(1, 2**63 - 1),
    ),
    dataset=st.sampled_from([DATASET, OTHER_DATASET]),
    release=st.builds(Release, st.integers(0, 10**12), st.integers(1, 2**31), st.integers(0, 10**6)),
    micro_epsilon_total=st.integers(0, UNBOUNDED),
    run_micro_epsilon=st.integers(0, UNBOUNDED),
    accountant=st.sampled_from(["prv", "rdp"]),
)


@given(made=st.lists(charges, max_size=6, unique_by=lambda charge: charge.key))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_charges_come_back_whole_and_oldest_first_by_dataset(make_state: MakeState, made: list[Charge]) -> None:
    state = make_state()
    for each in made:
        state.charge(each)
    for dataset in (DATASET, OTHER_DATASET):
        assert list(state.charges(dataset)) == [each for each in made if each.dataset == dataset]


def test_the_same_charge_twice_is_one_charge(state: SiteState) -> None:
    for _ in range(2):
        state.charge(charge_of(1))
    assert list(state.charges(DATASET)) == [charge_of(1)]


@pytest.mark.parametrize(
    "change",
    [{"dataset": OTHER_DATASET}, {"release": Release(10**6, 7, 8)}, {"micro_epsilon_total": 9}, {"accountant": "rdp"}],
)
def test_another_charge_for_a_taken_key_is_refused_and_changes_nothing(
    state: SiteState, change: dict[str, object]
) -> None:
    state.charge(charge_of(1))
    with pytest.raises(IntegrityError):
        state.charge(replace(charge_of(1), **change))  # type: ignore[arg-type] # one field of many types
    assert list(state.charges(DATASET)) == [charge_of(1)]
    assert list(state.charges(OTHER_DATASET)) == []


def test_attempts_rounds_and_runs_are_charged_apart(state: SiteState) -> None:
    made = [charge_of(1), charge_of(1, attempt=2), charge_of(2), charge_of(1, run=OTHER_RUN)]
    for each in made:
        state.charge(each)
    assert list(state.charges(DATASET)) == made


def test_the_first_update_of_an_attempt_stands(state: SiteState) -> None:
    key = ChargeKey(RUN, 1, 1)
    assert state.release(key, b"first") == b"first"
    assert state.release(key, b"second") == b"first"
    assert state.release(key, b"second", b"control") == b"first"
    assert state.released(key) == b"first"
    assert state.released(ChargeKey(RUN, 1, 2)) is None


def test_a_control_is_kept_with_its_update_and_the_first_one_stands(state: SiteState) -> None:
    first, second = ChargeKey(RUN, 1, 1), ChargeKey(RUN, 1, 2)
    state.release(first, b"first", b"control")
    state.release(first, b"second", b"another")
    state.release(second, b"plain")
    assert (state.released(first), state.control(first)) == (b"first", b"control")
    assert (state.released(second), state.control(second)) == (b"plain", None)
    assert state.control(ChargeKey(OTHER_RUN, 1, 1)) is None


def test_controls_of_earlier_rounds_of_one_run_are_forgotten_and_nothing_else_is(state: SiteState) -> None:
    keys = [ChargeKey(RUN, 2, 1), ChargeKey(RUN, 9, 1), ChargeKey(RUN, 10, 1), ChargeKey(OTHER_RUN, 2, 1)]
    for key in keys:
        state.release(key, b"update", b"control")
    state.forget_controls(RUN, before=10)
    assert [state.control(key) for key in keys] == [None, None, b"control", b"control"]
    assert [state.released(key) for key in keys] == [b"update"] * 4


def test_the_noise_multiplier_of_a_run_never_changes(state: SiteState) -> None:
    state.set_noise_multiplier(RUN, DATASET, 870_000)
    state.set_noise_multiplier(RUN, DATASET, 870_000)
    with pytest.raises(IntegrityError):
        state.set_noise_multiplier(RUN, DATASET, 870_001)
    assert state.noise_multiplier(RUN, DATASET) == 870_000
    assert state.noise_multiplier(OTHER_RUN, DATASET) is None
    assert state.noise_multiplier(RUN, OTHER_DATASET) is None


def test_a_second_story_about_a_round_is_refused(state: SiteState) -> None:
    state.keep(Evidence.RECEIPT, RUN, 1, b"one")
    state.keep(Evidence.RECEIPT, RUN, 1, b"one")
    with pytest.raises(IntegrityError):
        state.keep(Evidence.RECEIPT, RUN, 1, b"another")
    assert state.kept(Evidence.RECEIPT, RUN, 1) == b"one"


def test_kinds_of_evidence_are_kept_apart(state: SiteState) -> None:
    state.keep(Evidence.PROMISE, RUN, 1, b"promise")
    state.keep(Evidence.RECEIPT, RUN, 1, b"receipt")
    assert state.kept(Evidence.PROMISE, RUN, 1) == b"promise"
    assert state.kept(Evidence.PROMISE, RUN, 2) is None


def test_a_charge_within_the_lock_stands_even_when_the_block_fails(state: SiteState) -> None:
    def charge_and_fail() -> None:
        with state.locked():
            state.charge(charge_of(1))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        charge_and_fail()
    assert list(state.charges(DATASET)) == [charge_of(1)]
    with state.locked():
        pass


def test_a_lock_within_the_lock_joins_it(state: SiteState) -> None:
    with state.locked():
        with state.locked():
            state.charge(charge_of(1))
        state.charge(charge_of(2))
    assert len(state.charges(DATASET)) == 2


def test_threads_that_read_and_charge_under_the_lock_never_see_one_total_twice(state: SiteState) -> None:
    def spend(run: bytes) -> None:
        for round_ in range(1, 11):
            with state.locked():
                total = max((each.micro_epsilon_total for each in state.charges(DATASET)), default=0)
                state.charge(replace(charge_of(round_, run=run), micro_epsilon_total=total + 1))

    threads = [threading.Thread(target=spend, args=(bytes([number]) * 32,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [each.micro_epsilon_total for each in state.charges(DATASET)] == list(range(1, 41))
