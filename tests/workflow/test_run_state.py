"""A run's state is what its journal says: the same for a machine that wrote it and for one that reads it back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedchain.core.errors import FormatError
from fedchain.core.manifest import ArtifactRef, RejectedReply
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.trust import SignedReceipt
from fedchain.ports.journal import Entry, Step
from fedchain.workflow.run_state import (
    Body,
    Countersigned,
    Decided,
    Finished,
    Opened,
    Planned,
    Rejected,
    RunState,
    Sealed,
    Sealing,
    body_of,
    entry_of,
)
from tests.doubles.power import PowerCutError, after
from tests.scenarios.federation import Setup, federation

RUN = b"\x0a" * 32
MODEL = ArtifactRef("bafkreia", b"\x3d" * 32)
REPLY = RejectedReply(24, 1, bytes(20), 2, "bafkreib")


def decided(round_: int, kind: LinkKind = LinkKind.SEALED) -> Decided:
    link = RoundLink(RUN, round_, kind, bytes(32), bytes(32), bytes(32), bytes(32), bytes(32), 0, 0)
    return Decided(link, MODEL, "bafkreic", "", (), (REPLY,))


def opened(round_: int, attempt: int = 1) -> Opened:
    return Opened(round_, attempt, MODEL, 1_800_000_000, 1_800_000_600)


def replayed(*bodies: Body) -> RunState:
    return RunState.replay([entry_of(body) for body in bodies])


BODIES: list[Body] = [
    Planned(RUN, "bafkreid", b"\x01" * 32),
    opened(1),
    Rejected(REPLY),
    decided(1),
    Sealing(1, bytes(32)),
    Sealed(1, b"\x02" * 32, bytes(32), b"\x03" * 32, b"\x04" * 32),
    Countersigned(1, SignedReceipt(b"\x05" * 20, b"\x06" * 65)),
    Finished(RUN),
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_a_body_comes_back_from_its_entry(body: Body) -> None:
    assert body_of(entry_of(body)) == body


def test_every_step_has_its_body() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    seen = {type(body_of(entry)) for entry in new.journal.entries()} | {type(body) for body in BODIES}
    assert len(seen) == len(Step)


def test_a_damaged_body_is_refused() -> None:
    with pytest.raises(FormatError):
        body_of(Entry(Step.FINISHED, b"{}"))
    with pytest.raises(FormatError):
        body_of(Entry(Step.OPENED, entry_of(Finished(RUN)).body))


@settings(max_examples=30)
@given(count=st.integers(0, 100))
def test_a_machine_that_was_cut_off_anywhere_left_a_journal_that_says_what_it_knew(count: int) -> None:
    new = federation(Setup(sites=2, rounds=1))
    machine = new.machine(after(count))
    try:
        machine.run()
    except PowerCutError:
        # What was appended and not acknowledged may be in the journal and not in the state, and nothing else.
        entries = new.journal.entries()
        assert machine.state in (RunState.replay(entries), RunState.replay(entries[:-1]))
    else:
        assert machine.state == RunState.replay(new.journal.entries())


def test_an_empty_journal_is_an_empty_state() -> None:
    state = RunState.replay([])
    assert state == RunState()
    assert (state.rounds_ended, state.rounds_sealed, state.is_closed, state.last_model) == (0, 0, False, None)


def test_a_decision_ends_the_open_round_and_empties_what_it_collected() -> None:
    state = replayed(opened(1), Rejected(REPLY), decided(1))
    assert (state.opened, state.accepted, state.rejected) == (None, {}, [])
    assert (state.rounds_ended, state.last_model) == (1, MODEL)


def test_another_attempt_keeps_what_the_round_has_collected_and_another_round_does_not() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    entries = [entry for entry in new.journal.entries() if entry.step in {Step.OPENED, Step.ACCEPTED}]
    assert len(RunState.replay([*entries, entry_of(opened(1, attempt=2))]).accepted) == 3
    assert RunState.replay([*entries, entry_of(opened(2))]).accepted == {}


def test_aborted_rounds_count_as_ended_and_the_closing_link_does_not() -> None:
    state = replayed(decided(1), decided(2, LinkKind.ABORTED), decided(3), decided(4, LinkKind.CLOSED))
    assert (state.rounds_ended, state.rounds_sealed, state.is_closed) == (3, 2, True)
    assert state.refused == ((1, REPLY), (2, REPLY), (3, REPLY), (4, REPLY))
