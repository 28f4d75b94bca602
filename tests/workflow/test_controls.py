"""SCAFFOLD from the first task to the verifier: who corrects by what, through aborts, losses and crashes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest

from fedchain.core.cid import Cid
from fedchain.core.control import Control, Place, own_from_bytes
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, IntegrityError, PolicyError
from fedchain.core.lineage import Verdict
from fedchain.core.manifest import ArtifactRef
from fedchain.core.optimiser import state_digest
from fedchain.core.record import LinkKind
from fedchain.core.scoring import ValidationSet, value
from fedchain.core.task import Task
from fedchain.core.tensors import FloatTensors, TensorSchema, decode, encode
from fedchain.ports.cohort import Reply
from fedchain.ports.site_state import ChargeKey
from fedchain.workflow.gate import schema_of
from tests.doubles.power import PowerCutError, after
from tests.scenarios.federation import INITIAL, REWARDS, Federation, Member, Setup, federation
from tests.workflow.forgery import damage, finished, lose, restate, rewrite, rewrite_plan
from tests.workflow.hospital import DEVICE, MODEL, TRAINING, world

SCAFFOLD: Final = Setup(strategy="scaffold")
OPEN: Final = Setup(strategy="scaffold", sites=2, epsilon=None)
"""Without privacy the sites repeat their updates to the bit, so every history must end in the same control."""
Act = Callable[[Federation], None]


def control(new: Federation, round_: int) -> Control:
    reference = new.manifest(round_).state
    state = None if reference is None else stored(new, reference)
    return Control.read(state, schema_of(new.plan.manifest))


def stored(new: Federation, reference: ArtifactRef) -> bytes:
    return next(data for cid, data in new.store.artifacts.items() if cid.text == reference.cid)


def own(new: Federation, member: Member, server: Control) -> FloatTensors:
    """A site's own control after its newest update that entered the server's."""
    place = server.entered.get(member.device.address)
    run = new.plan.manifest.run
    kept = None if place is None else member.state.controls[ChargeKey(run, place.round, place.attempt)]
    return own_from_bytes(kept, TensorSchema.of(INITIAL))


def balanced(new: Federation, server: Control) -> None:
    """Check that the server's control is the mean of the sites' own ones, each weighing its rows."""
    weights = [each.applicant.nominal_size for each in new.members]
    controls = [own(new, each, server) for each in new.members]
    for name, values in server.values.items():
        mean = sum(weight * each[name] for weight, each in zip(weights, controls, strict=True)) / sum(weights)
        np.testing.assert_allclose(values, mean, rtol=0, atol=1e-12)
        assert values.any()


def test_the_servers_control_stays_the_mean_of_the_sites_controls() -> None:
    new = federation(replace(SCAFFOLD, rounds=4))
    new.run()
    new.check()
    server = control(new, 4)
    assert server.entered == {each.device.address: Place(4, 1) for each in new.members}
    balanced(new, server)
    assert new.verify(scrub=True).verdict is Verdict.SELF_CONSISTENT


def test_each_task_is_corrected_by_the_control_that_the_round_before_left() -> None:
    new = federation(replace(SCAFFOLD, rounds=3))
    new.run()
    first, second, third = (call.correction or {} for call in new.members[0].trainer.calls)
    assert not any(each.any() for each in first.values())
    assert all(each.any() for each in second.values())
    assert third.keys() == INITIAL.keys()
    server = control(new, 2)
    run = new.plan.manifest.run
    mine = own_from_bytes(new.members[0].state.controls[ChargeKey(run, 2, 1)], TensorSchema.of(INITIAL))
    for name, each in third.items():
        assert each.tobytes() == (server.values[name] - mine[name]).tobytes()
    signed = [each.header.dp.control for each in new.manifest(2).accepted]
    reference = new.manifest(1).state
    assert reference is not None
    assert signed == [reference.digest] * 3
    assert {each.header.dp.control for each in new.manifest(1).accepted} == {ZERO}


def test_a_strategy_without_controls_signs_none_and_corrects_nothing() -> None:
    new = finished(Setup(strategy="fedadam"))
    assert {each.header.dp.control for each in new.manifest(2).accepted} == {ZERO}
    assert all(call.correction is None for each in new.members for call in each.trainer.calls)
    assert not any(each.state.controls for each in new.members)


# ------------------------------------------------------------------ updates that did not enter


def test_an_update_of_an_aborted_round_does_not_enter() -> None:
    new = federation(replace(SCAFFOLD, rounds=3, min_clients=3))
    new.cohort.tamper = lambda task, reply: [] if (task.round, reply.node) == (2, 3) else [reply]
    with pytest.raises(PolicyError, match="aborted"):
        new.run()
    new.run()
    assert [each.link.kind for each in new.links()][:3] == [LinkKind.SEALED, LinkKind.ABORTED, LinkKind.SEALED]
    assert control(new, 2).entered == {each.device.address: Place(1, 1) for each in new.members}
    balanced(new, control(new, 3))
    balanced(new, control(new, 4))
    assert new.verify().findings == ()


def test_an_update_that_was_lost_on_the_way_does_not_enter() -> None:
    new = federation(replace(SCAFFOLD, rounds=3))
    new.cohort.tamper = lambda task, reply: [] if (task.round, reply.node) == (2, 2) else [reply]
    new.run()
    entered = control(new, 2).entered
    assert [entered[each.device.address].round for each in new.members] == [2, 1, 2]
    balanced(new, control(new, 3))
    assert new.verify().findings == ()


def test_controls_that_a_later_one_replaced_are_dropped() -> None:
    new = federation(replace(SCAFFOLD, rounds=4))
    new.run()
    assert [sorted(key.round for key in each.state.controls) for each in new.members] == [[3, 4]] * 3


def test_a_site_whose_own_control_is_gone_says_so_and_spends_nothing() -> None:
    new = federation(replace(SCAFFOLD, min_clients=3))
    memory = new.members[0].state

    def forget(task: Task, reply: Reply) -> list[Reply]:
        if (task.round, reply.node) == (1, 3):
            memory.controls.clear()
        return [reply]

    new.cohort.tamper = forget
    with pytest.raises(PolicyError, match="one whose own control is kept here, got none"):
        new.run()
    assert {key.round for key in memory.charged} == {1}


# ------------------------------------------------------------------ crashes


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_crash_at_any_moment_ends_in_the_same_control(stride: int) -> None:
    calm = federation(OPEN)
    calm.run()
    expected = calm.manifest(2).state
    new = federation(OPEN)
    start = new.snapshot()
    for count in range(0, len(calm.power.passed), stride):
        new.restore(start)
        with pytest.raises(PowerCutError):
            new.machine(after(count)).run()
        new.run()
        assert new.manifest(2).state == expected
        balanced(new, control(new, 2))


# ------------------------------------------------------------------ what is forged


def corrected(control: bytes, server: bytes, **changes: Any) -> Callable[[], object]:
    """Return what asks a site for a corrected round under a task that names `control`, with the server's beside it."""
    here = world()
    training = replace(TRAINING, correction="scaffold", updates=2, **changes)
    return lambda: here.site.contribute(here.task(training=training, control=control), MODEL, server)


def of_the_model(entered: dict[bytes, Place], **values: float) -> bytes:
    return Control({"bias": np.array([values.get("first", 0.5), -1.0])}, entered).to_bytes()


def test_a_site_takes_the_control_that_its_task_names_and_no_other() -> None:
    server = of_the_model({})
    corrected(state_digest(server), server)()
    corrected(ZERO, b"")()
    for control, given in (
        (state_digest(server), of_the_model({}, first=0.25)),
        (state_digest(server), b""),
        (ZERO, server),
    ):
        with pytest.raises(InputError, match="control of the server: expected digest"):
            corrected(control, given)()


def test_a_site_refuses_a_control_without_a_correction_and_a_correction_that_it_does_not_know() -> None:
    here, server = world(), of_the_model({})
    with pytest.raises(InputError, match="control of the server"):
        here.site.contribute(here.task(control=state_digest(server)), MODEL, server)
    with pytest.raises(InputError, match="correction: expected none or scaffold"):
        here.contribute(training=replace(TRAINING, correction="feddyn"))
    with pytest.raises(InputError, match="updates: expected at least 1"):
        here.contribute(training=replace(TRAINING, correction="scaffold"))
    assert here.state.charged == {}


@pytest.mark.parametrize("place", [Place(1, 1), Place(2, 1), Place(9, 1)], ids=["never made", "this round", "later"])
def test_a_control_that_counts_an_update_which_the_site_has_not_released_is_refused(place: Place) -> None:
    here = world()
    server = of_the_model({DEVICE.address: place})
    training = replace(TRAINING, correction="scaffold", updates=2)
    with pytest.raises(IntegrityError, match=f"counts an update of hospital in round {place.round}"):
        here.site.contribute(here.task(2, training, control=state_digest(server)), MODEL, server)
    assert here.state.charged == {}


def altered(new: Federation, name: str, place: int = 0) -> ArtifactRef:
    """Store round 1's control with one bit of one number turned, under its right digest."""
    reference = new.manifest(1).state
    assert reference is not None
    tensors = {key: np.array(each) for key, each in decode(stored(new, reference)).items()}
    tensors[name].reshape(-1)[place] ^= 1
    data = encode(tensors)
    return ArtifactRef(new.store.put(data).text, state_digest(data))


def put(new: Federation, state: ArtifactRef | None) -> None:
    rewrite(new, 1, lambda manifest: replace(manifest, state=state))


def cid(new: Federation) -> str:
    reference = new.manifest(1).state
    assert reference is not None
    return reference.cid


def other_steps(new: Federation) -> None:
    rewrite_plan(new, lambda each: replace(each, training=replace(each.training, updates=8)))


CASES: list[tuple[str, int, str, Act]] = [
    ("state", 1, "has another value", lambda new: put(new, altered(new, "c/bias"))),
    ("state", 1, "says another round of a client", lambda new: put(new, altered(new, "entered", 5))),
    ("state", 1, "says another client", lambda new: put(new, altered(new, "entered", 0))),
    ("state", 1, "is missing from the manifest", lambda new: put(new, None)),
    ("state", 1, "is lost", lambda new: lose(new, cid(new))),
    ("state", 1, "is damaged", lambda new: damage(new, cid(new))),
    ("state", 3, "changes while the run is closed",
     lambda new: rewrite(new, 3, lambda each: replace(each, state=new.manifest(1).state))),
    ("update", 2, "is not what a site signed that it corrected by",
     lambda new: restate(new, 2, 1, dp=lambda dp: replace(dp, control=b"\x0c" * 32))),
    ("update", 1, "was there before the first round",
     lambda new: restate(new, 1, 0, dp=lambda dp: replace(dp, control=b"\x0c" * 32))),
    ("configuration", 1, "is for other steps", other_steps),
]  # fmt: skip


@pytest.mark.parametrize(("claim", "round_", "act"), [(c, r, a) for c, r, _, a in CASES], ids=[c[2] for c in CASES])
def test_a_forged_control_is_a_finding(claim: str, round_: int, act: Act) -> None:
    new = finished(SCAFFOLD)
    act(new)
    lineage = new.verify()
    assert lineage.verdict is Verdict.FINDINGS
    assert (claim, round_) in {(each.claim, each.round) for each in lineage.findings}


def test_rewards_score_the_mean_that_the_model_is_moved_by() -> None:
    new = federation(Setup(strategy="scaffold", rewards=REWARDS))
    new.run()
    assert new.plan.manifest.rewards is not None
    rows = ValidationSet.from_bytes(new.store.get(Cid.parse(new.plan.manifest.rewards.validation.cid)))
    for each in new.rewards().rounds:
        model = decode(new.store.get(Cid.parse(new.manifest(each.round).model.cid)))
        assert each.value == value(model, rows, 24)
