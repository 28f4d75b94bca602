"""Two machines over one run: one seals each round, the other is refused, and no update is lost or counted twice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.core.errors import PolicyError, RejectedTransactionError
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.ports.site_state import Evidence
from fedchain.workflow.rounds import RoundMachine
from fedchain.workflow.run_state import RunState
from tests.doubles.journal import MemoryJournal
from tests.doubles.power import PowerCutError, at
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import Federation, Setup, federation


def beside(new: Federation) -> Federation:
    """Return the same federation as a second machine sees it, with a copy of the journal as it is now."""
    return replace(new, journal=MemoryJournal(list(new.journal.written)), events=[], pins=())


def interrupted(new: Federation, moment: str, earlier: int = 0) -> Federation:
    with pytest.raises(PowerCutError):
        new.machine(at(moment, earlier)).run()
    return beside(new)


def is_whole(new: Federation) -> None:
    new.check()
    assert [event.link.kind for event in new.links()] == [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    lineage = new.verify(trust=new.trust())
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


@pytest.mark.parametrize("moment", ["after journal opened", "after journal accepted", "before journal decided"])
def test_of_two_that_opened_one_round_together_the_second_to_seal_is_refused(moment: str) -> None:
    new = federation(Setup())
    second = interrupted(new, moment)
    new.clock.forward(1)
    new.run()
    before = list(new.record.events)
    new.clock.forward(1)
    with pytest.raises(RejectedTransactionError):
        second.run()
    assert new.record.events == before
    is_whole(new)


def test_two_that_decided_one_round_together_share_its_seal_and_part_in_the_next() -> None:
    new = federation(Setup())
    second = interrupted(new, "after journal decided")
    new.run()
    new.clock.forward(1)
    with pytest.raises((RejectedTransactionError, PolicyError)):
        second.run()
    sealed = RunState.replay(second.journal.entries()).sealed
    assert sealed[1].round_hash == new.links()[0].round_hash
    assert list(sealed) == [1]
    is_whole(new)


def test_two_that_do_the_same_in_the_same_second_seal_the_same() -> None:
    new = federation(Setup())
    second = interrupted(new, "after journal decided")
    new.run()
    assert second.run().is_finished
    is_whole(new)


def test_one_that_starts_from_nothing_gets_no_update_for_a_round_that_another_opened() -> None:
    new = federation(Setup())
    second = beside(new)
    new.run()
    new.clock.forward(1)
    with pytest.raises(PolicyError):
        second.run()
    is_whole(new)
    promised = [member.state.kept(Evidence.PROMISE, new.plan.manifest.run, 1) for member in new.members]
    assert None not in promised


def test_one_with_another_key_gets_no_seal_and_no_site_keeps_its_promise() -> None:
    new = federation(Setup())
    machine = beside(new).machine()
    impostor = RoundMachine(new.plan, replace(machine._with, signer=NamedSigner("an impostor")))
    with pytest.raises(RejectedTransactionError):
        _run_against(new, impostor)
    assert new.links() == []
    assert {member.state.kept(Evidence.PROMISE, new.plan.manifest.run, 1) for member in new.members} == {None}


def _run_against(new: Federation, machine: RoundMachine) -> None:
    new.record.aggregator, genuine = NamedSigner("somebody else").address, new.record.aggregator
    try:
        machine.run()
    finally:
        new.record.aggregator = genuine
