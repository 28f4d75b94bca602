"""A ledger that lost its newest links gets them back, the same ones, in order."""

from __future__ import annotations

import pytest

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError
from fedchain.core.record import head_slot
from fedchain.ports.ledger import LinkEvent
from fedchain.workflow.resealing import reseal
from fedchain.workflow.run_state import RunState
from tests.scenarios.federation import Federation, federation


def lose(new: Federation, links: int) -> None:
    """Take the last links off the ledger, as a reorganisation does."""
    del new.record.events[-links:]
    left = [event for event in new.record.events if isinstance(event, LinkEvent)]
    slot = head_slot(left[-1].link.round, left[-1].round_hash, closed=False) if left else ZERO
    new.record.slots[new.plan.manifest.run] = slot


@pytest.mark.parametrize("links", [1, 2, 3])
def test_lost_links_come_back_as_they_were(links: int) -> None:
    new = federation()
    new.run()
    before = new.links()
    assert len(before) == 3
    lose(new, links)
    state = RunState.replay(new.journal.entries())
    for _ in range(2):
        reseal(new.ledger, state)
        assert [(each.link, each.round_hash) for each in new.links()] == [(e.link, e.round_hash) for e in before]


def test_a_link_that_comes_back_as_another_one_is_an_error() -> None:
    new = federation()
    new.run()
    lose(new, 3)
    new.record.state.head = b"\x01" * 32
    with pytest.raises(IntegrityError, match="round 1 came back to the ledger as another one"):
        reseal(new.ledger, RunState.replay(new.journal.entries()))
