"""Sealing: every decided link reaches the ledger once, in order, whatever the ledger does meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError, PolicyError, RejectedTransactionError, UnreachableError
from fedchain.core.record import LinkContext, LinkKind, RoundLink, round_hash
from fedchain.ports.journal import Step
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, Seal
from fedchain.workflow.rounds import RoundMachine
from fedchain.workflow.run_state import RunState
from tests.doubles.ledger import MemoryLedger
from tests.doubles.power import PowerCutError, at
from tests.scenarios.federation import IDENTITY, Federation, Setup, federation


@dataclass(slots=True)
class Unsteady:
    """A ledger that does not answer some seals, before or after it took them, or answers with another hash."""

    ledger: MemoryLedger
    fails_before: int = 0
    fails_after: int = 0
    lies: bool = False
    is_stale: bool = False
    checks: int = 0
    sent: list[int] = field(default_factory=list[int])

    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def events(self) -> Sequence[LedgerEvent]:
        return self.ledger.events()

    def registry_head(self) -> bytes:
        return self.ledger.registry_head()

    def head_slot(self, run: bytes) -> bytes:
        return self.ledger.head_slot(run)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        return self.ledger.find(run, round_)

    def check_lead(self) -> None:
        if self.is_stale:
            raise RejectedTransactionError("another aggregator has taken over")
        self.checks += 1
        self.ledger.check_lead()

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        self.sent.append(link.round)
        if self.fails_before:
            self.fails_before -= 1
            raise UnreachableError("the node did not answer")
        seal = self.ledger.seal(link, previous_hash)
        if self.fails_after:
            self.fails_after -= 1
            raise UnreachableError("the node took it and did not answer")
        return replace(seal, round_hash=ZERO) if self.lies else seal


def machine(new: Federation, ledger: Unsteady) -> RoundMachine:
    made = new.machine()
    return RoundMachine(new.plan, replace(made._with, ledger=ledger))


def kinds(new: Federation) -> list[LinkKind]:
    return [event.link.kind for event in new.links()]


def test_the_intent_to_seal_is_journaled_before_the_link_is_sent_and_the_seal_after() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    moments = [name for name in new.power.passed if "seal" in name and "proof" not in name]
    one = [
        "before journal sealing", "after journal sealing", "before seal", "after seal", "before journal sealed",
        "after journal sealed",
    ]  # fmt: skip
    assert moments == one * 2


def test_a_seal_names_the_hashes_that_it_was_made_of() -> None:
    new = federation()
    state = new.run()
    for event in new.links():
        sealed = state.sealed[event.link.round]
        context = LinkContext(IDENTITY.rounds, IDENTITY.federation, sealed.previous_hash, sealed.registry_head)
        assert sealed.round_hash == event.round_hash == round_hash(event.link, context)
        assert sealed.transaction == event.transaction


@pytest.mark.parametrize("moment", ["fails_before", "fails_after"], ids=["not taken", "taken and not confirmed"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_ledger_that_does_not_answer_stops_the_run_and_each_link_is_sealed_once_when_it_is_back(
    moment: str, times: int
) -> None:
    new = federation()
    unsteady = Unsteady(new.ledger, **{moment: times})  # type: ignore[arg-type]
    for _ in range(times):
        with pytest.raises(UnreachableError):
            machine(new, unsteady).run()
        assert set(unsteady.sent) == {1}
    machine(new, unsteady).run()
    assert kinds(new) == [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    new.check()


def test_rounds_decided_while_the_ledger_was_away_are_sealed_in_their_order() -> None:
    new = federation(Setup(rounds=3))
    with pytest.raises(UnreachableError):
        machine(new, Unsteady(new.ledger, fails_before=1)).run()
    back = Unsteady(new.ledger)
    machine(new, back).run()
    assert back.sent == [1, 2, 3, 4]
    steps = [entry.step for entry in new.journal.entries() if entry.step in {Step.SEALING, Step.SEALED}]
    assert steps == [Step.SEALING, *([Step.SEALING, Step.SEALED] * 4)]
    new.check()


def test_a_ledger_that_answers_with_another_hash_is_not_believed() -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(IntegrityError, match="the ledger's hash of round 1"):
        machine(new, Unsteady(new.ledger, lies=True)).run()
    assert RunState.replay(new.journal.entries()).sealed == {}


def test_a_key_that_is_not_the_aggregators_seals_nothing() -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(RejectedTransactionError):
        machine(new, Unsteady(MemoryLedger(new.record, b"\x05" * 20))).run()
    assert new.links() == []


def test_the_registry_head_of_the_seal_is_journaled_even_where_the_registry_moved_on_after_a_crash() -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(PowerCutError):
        new.machine(at("after seal")).run()
    then = new.ledger.registry_head()
    new.clock.forward(1)
    new.withdraw_consent(0)
    state = new.run()
    assert new.ledger.registry_head() != then
    assert state.sealed[1].registry_head == then
    assert state.sealed[2].registry_head == new.ledger.registry_head()
    new.check()


def test_an_abort_is_sealed_before_its_error_is_told() -> None:
    new = federation(Setup(min_clients=3))
    new.cohort.order = [1]
    with pytest.raises(PolicyError):
        new.run()
    assert kinds(new) == [LinkKind.ABORTED]
    assert list(RunState.replay(new.journal.entries()).sealed) == [1]


def test_the_error_of_a_round_is_told_even_where_sealing_it_failed_too() -> None:
    new = federation(Setup(min_clients=3))
    new.cohort.order = [1]
    with pytest.raises(PolicyError):
        machine(new, Unsteady(new.ledger, fails_before=1)).run()
    new.cohort.order = None
    new.run()
    assert kinds(new) == [LinkKind.ABORTED, LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    new.check()


def test_the_lead_is_asked_for_once_a_round_before_the_first_promise() -> None:
    new = federation(Setup(sites=3, rounds=2))
    ledger = Unsteady(new.ledger)
    machine(new, ledger).run()
    assert ledger.checks == 2


def test_a_stale_aggregator_promises_nothing() -> None:
    new = federation(Setup())
    with pytest.raises(RejectedTransactionError, match="taken over"):
        machine(new, Unsteady(new.ledger, is_stale=True)).run()
    assert new._promises() == []
    assert list(RunState.replay(new.journal.entries()).decided) == []
    new.run()
    new.check()
