"""Crashes, hostile and late replies, silence, withdrawals, revocations and lost time, in any order: the record holds.

After whatever happened, once the faults heal the run ends in a few more starts, or says that too few sites are left.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from fedchain.core.errors import PolicyError
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.task import Task
from fedchain.ports.cohort import Reply
from fedchain.ports.journal import Step
from fedchain.workflow.run_state import RunState
from tests.doubles.cohort import untouched
from tests.doubles.power import Cut, PowerCutError, at, never
from tests.scenarios.federation import Federation, Setup, federation
from tests.workflow.drafts import Draft
from tests.workflow.hostile import ATTACKS, Attack

SITES, ROUNDS = 3, 2
OUTSIDE = {"revoked key", "withdrawn", "too late"}
"""Attacks that act on the federation; here they are rules of their own."""
EFFECTS = [
    *(f"journal {step}" for step in Step), "put", "seal", "promise", "charge", "release", "keeping a promise",
    "keeping a receipt", "keeping the pins",
]  # fmt: skip
MOMENTS = [f"{when} {effect}" for effect in EFFECTS for when in ("before", "after")]
HOSTILE = [attack for reason, name, attack in ATTACKS if name not in OUTSIDE and reason is not Reason.GRANT_EXCEEDED]
GENEROUS = 10**12
"""A grant that no history here exhausts: rounds that were aborted are charged, too."""


class Histories(RuleBasedStateMachine):
    """One run under everything that can happen to it."""

    new: Federation
    silent: frozenset[int]
    attack: Attack | None
    attacker: int
    delayed: int
    gone: set[int]

    @initialize(private=st.booleans())
    def found(self, private: bool) -> None:
        epsilon = 4.0 if private else None
        self.new = federation(
            Setup(sites=SITES, rounds=ROUNDS, epsilon=epsilon, timeout_s=100, micro_epsilon_grant=GENEROUS)
        )
        self.new.cohort.tamper = self._tamper
        self.silent, self.attack, self.attacker, self.delayed, self.gone = frozenset(), None, 0, 0, set()

    def _tamper(self, task: Task, reply: Reply) -> Sequence[Reply]:
        if reply.node in self.silent:
            return []
        if reply.node == self.delayed and not reply.error:
            self.new.cohort.late_replies.append(reply)
            return []
        if self.attack is None or reply.node != self.attacker or reply.error:
            return [reply]
        draft = Draft.of(self.new, task, reply)
        self.attack(draft)
        return [draft.reply(), reply]

    def _start(self, cut: Cut) -> None:
        with contextlib.suppress(PowerCutError, PolicyError):
            self.new.machine(cut).run()

    @rule(moment=st.sampled_from(MOMENTS), earlier=st.integers(0, 4))
    def crash(self, moment: str, earlier: int) -> None:
        self._start(at(moment, earlier))

    @rule()
    def run(self) -> None:
        self._start(never)

    @rule(nodes=st.frozensets(st.integers(1, SITES), max_size=2))
    def fall_silent(self, nodes: frozenset[int]) -> None:
        self.silent = nodes

    @rule(node=st.integers(0, SITES))
    def delay(self, node: int) -> None:
        self.delayed = node

    @rule(attack=st.sampled_from(HOSTILE), attacker=st.integers(1, SITES))
    def turn_hostile(self, attack: Attack, attacker: int) -> None:
        self.attack, self.attacker = attack, attacker

    @rule(seconds=st.sampled_from([1, 30, 101]))
    def lose_time(self, seconds: int) -> None:
        self.new.clock.forward(seconds)

    @precondition(lambda self: not self.gone)
    @rule(member=st.integers(0, SITES - 1), is_device=st.booleans())
    def leave(self, member: int, is_device: bool) -> None:
        self.new.clock.forward(1)
        (self.new.revoke_device if is_device else self.new.withdraw_consent)(member)
        self.gone.add(member)

    @precondition(lambda self: self.gone)
    @rule()
    def consent_again(self) -> None:
        self.new.clock.forward(1)
        (member,) = self.gone
        self.new.submit(member, self.new.grant_of(member))

    @invariant()
    def the_record_holds(self) -> None:
        self.new.check()

    def teardown(self) -> None:
        """Heal everything but who left: two sites are enough, so the run must end."""
        self.silent, self.attack, self.delayed = frozenset(), None, 0
        self.new.cohort.tamper = untouched
        for _ in range(3):
            self._start(never)
            self.new.clock.forward(101)
        state = RunState.replay(self.new.journal.entries())
        assert state.is_finished
        assert [event.link.kind for event in self.new.links()].count(LinkKind.SEALED) == ROUNDS
        self.new.check()
        assert self.new.cohort.refusals == []
        lineage = self.new.verify(trust=self.new.trust(), scrub=True)
        assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


def test_any_history() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=8, stateful_step_count=10))


@pytest.mark.slow
def test_many_long_histories() -> None:
    run_state_machine_as_test(Histories, settings=settings(max_examples=60, stateful_step_count=20))
