"""The power fails at any moment of a run, and again while it recovers: the run completes and the invariants hold."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from random import Random

import pytest

from fedchain.core import document
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.core.task import Task
from fedchain.ports.cohort import Reply
from fedchain.ports.journal import Step
from fedchain.ports.site_state import Evidence
from fedchain.workflow.run_state import RunState
from fedchain.workflow.summarise import pins_of
from tests.doubles.power import Cut, PowerCutError, after, at
from tests.scenarios.federation import Federation, Setup, Snapshot, federation

SCHEDULES = 2_000
PRIVATE = Setup(sites=2, rounds=2)
SHORT = Setup(sites=2, rounds=1)
OPEN = Setup(sites=2, rounds=1, epsilon=None)
"""Without privacy the sites repeat their updates to the bit, so every schedule must end in the same model."""


@pytest.fixture
def decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding a document is a pure function, and thousands of machines read the same entries."""
    monkeypatch.setattr(document, "from_bytes", functools.lru_cache(1 << 14)(document.from_bytes))


def founded(setup: Setup) -> Federation:
    """Return a federation whose first site also lets garbage through, so that rounds have rejections."""
    new = federation(setup)

    def tamper(task: Task, reply: Reply) -> Iterable[Reply]:
        if reply.node == 1:
            yield Reply(1, task.round, b"garbage %d" % task.round, b"", "")
        yield reply

    new.cohort.tamper = tamper
    return new


def completed(new: Federation, cuts: Sequence[Cut]) -> RunState:
    """Run machine after machine, each until its cut, the last one to the end."""
    for cut in cuts:
        try:
            return new.machine(cut).run()
        except PowerCutError:
            continue
    return new.run()


def check(new: Federation, state: RunState) -> None:
    """Check that the run is whole: every round sealed once, everybody's word given and kept, the books in order."""
    new.check()
    assert state.is_finished
    kinds = [event.link.kind for event in new.links()]
    assert kinds == [LinkKind.SEALED] * new.setup.rounds + [LinkKind.CLOSED]
    assert state == RunState.replay(new.journal.entries())
    assert new.pins == pins_of(state)
    for event, manifest in zip(new.links(), new.manifests(), strict=True):
        sealed = event.link.kind is LinkKind.SEALED
        assert (len(manifest.accepted), len(manifest.rejected)) == ((2, 1) if sealed else (0, 0))
        assert len(state.receipts[event.link.round]) == len(new.members)
    for member in new.members:
        kept = [kind for kind, _, _ in member.state.evidence]
        assert kept.count(Evidence.PROMISE) == new.setup.rounds
        assert kept.count(Evidence.RECEIPT) == new.setup.rounds + 1


@functools.cache
def undisturbed(setup: Setup) -> tuple[bytes, list[str]]:
    """Return the last model's digest and the moments that one machine passes."""
    new = founded(setup)
    state = new.run()
    check(new, state)
    return new.links()[-1].link.model_digest, list(new.power.passed)


STEPS = [step for step in Step if step is not Step.PLANNED]  # a run's plan is there before its machine


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_crash_at_a_step_of_the_journal(step: Step, when: str, times: int) -> None:
    new = founded(PRIVATE)
    moment = f"{when} journal {step}"
    assert moment in undisturbed(PRIVATE)[1]
    state = completed(new, [at(moment)] * times)
    check(new, state)
    lineage = new.verify(trust=new.trust(), scrub=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


@pytest.mark.usefixtures("decoded_once")
def test_a_crash_at_every_moment_of_a_run() -> None:
    new = founded(PRIVATE)
    start = new.snapshot()
    for count in range(len(undisturbed(PRIVATE)[1])):
        new.restore(start)
        check(new, completed(new, [after(count)]))


@pytest.mark.slow
@pytest.mark.usefixtures("decoded_once")
def test_thousands_of_schedules_of_crashes_during_recovery() -> None:
    """Each schedule starts where a first crash left things, at any moment, and is cut once or twice more."""
    random = Random(20_260_101)
    worlds = [(new, _wrecks(new), undisturbed(new.setup)[0]) for new in map(founded, (SHORT, OPEN))]
    for _ in range(SCHEDULES):
        new, wrecks, digest = random.choice(worlds)
        wreck = random.randrange(len(wrecks))
        new.restore(wrecks[wreck])
        cuts = [after(random.randrange(len(wrecks) - wreck)) for _ in range(random.randint(1, 2))]
        check(new, completed(new, cuts))
        if new.setup is OPEN:
            assert new.links()[-1].link.model_digest == digest


def _wrecks(new: Federation) -> list[Snapshot]:
    """Return what every first crash of a run leaves behind; how many there are depends on when its sealer comes in."""
    start, wrecks = new.snapshot(), list[Snapshot]()
    while True:
        new.restore(start)
        try:
            new.machine(after(len(wrecks))).run()
        except PowerCutError:
            wrecks.append(new.snapshot())
        else:
            assert len(wrecks) > 50
            return wrecks
