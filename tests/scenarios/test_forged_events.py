"""A ledger that lies about its events while it keeps the genuine heads: every lie is a finding without any pin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, TypeVar, cast

import pytest

from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.messages import AddOrganisation
from fedchain.core.record import RoundLink
from fedchain.ports.ledger import Ledger, LedgerEvent, LedgerIdentity, LinkEvent, RegistryEvent, Seal
from tests.scenarios.forge import Forgery, History, Stage, judged, told_in_memory
from tests.scenarios.genuine import Genuine

pytestmark = pytest.mark.slow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LyingLedger:
    """A ledger's own heads with other events."""

    ledger: Ledger
    told: tuple[LedgerEvent, ...]

    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def events(self) -> Sequence[LedgerEvent]:
        return self.told

    def registry_head(self) -> bytes:
        return self.ledger.registry_head()

    def head_slot(self, run: bytes) -> bytes:
        return self.ledger.head_slot(run)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        return self.ledger.find(run, round_)

    def check_lead(self) -> None:
        self.ledger.check_lead()

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        return self.ledger.seal(link, previous_hash)


@pytest.fixture(scope="module")
def stage(history: History) -> Stage:
    """The genuine record in memory."""
    return told_in_memory(history, Forgery())


def lied(stage: Stage, events: Sequence[LedgerEvent]) -> Lineage:
    return judged(LyingLedger(stage.ledger, tuple(events)), stage.store)


def name_of(event: LedgerEvent) -> str:
    return f"round {event.link.round}" if isinstance(event, LinkEvent) else type(event.message).__name__


def test_a_record_told_anew_without_a_lie_is_the_genuine_one(stage: Stage, history: History, genuine: Genuine) -> None:
    links = [event for event in history.events if isinstance(event, LinkEvent)]
    heads = [event.round_hash for event in links]

    refused = {event.link.run: event.link.rejected for event in links if event.link.round == 1}
    assert refused == dict(zip(genuine.runs, (0, 1), strict=True)), "the second run refuses who withdrew"
    assert [event.round_hash for event in stage.ledger.events() if isinstance(event, LinkEvent)] == heads
    assert judged(stage.ledger, stage.store, genuine.trust).verdict is Verdict.VERIFIED


def test_every_event_that_is_left_out_is_a_finding_and_a_missing_link_names_its_round(stage: Stage) -> None:
    events = stage.ledger.events()
    for index, event in enumerate(events):
        lineage = lied(stage, [*events[:index], *events[index + 1 :]])

        assert lineage.verdict is Verdict.FINDINGS, name_of(event)
        if isinstance(event, LinkEvent):
            place = (event.link.run.hex(), event.link.round, "chain")
            assert place in {(each.run, each.round, each.claim) for each in lineage.findings}
        else:
            assert {each.claim for each in lineage.findings} & {"registry", "consent"}, name_of(event)


def test_every_event_that_is_told_twice_is_a_finding(stage: Stage) -> None:
    events = stage.ledger.events()
    for index, event in enumerate(events):
        lineage = lied(stage, [*events[: index + 1], event, *events[index + 1 :]])

        assert lineage.verdict is Verdict.FINDINGS, name_of(event)


def test_neighbours_that_change_places_are_a_finding_unless_they_belong_to_two_runs(stage: Stage) -> None:
    events = stage.ledger.events()
    for index, (first, second) in enumerate(pairwise(events)):
        lineage = lied(stage, [*events[:index], second, first, *events[index + 2 :]])

        is_one_chain = not (
            isinstance(first, LinkEvent) and isinstance(second, LinkEvent) and first.link.run != second.link.run
        )
        assert (lineage.verdict is Verdict.FINDINGS) == is_one_chain, (name_of(first), name_of(second))


def test_every_member_of_every_event_that_is_altered_is_a_finding(stage: Stage) -> None:
    events = stage.ledger.events()
    for index, event in enumerate(events):
        for name, altered in alterations(event):
            lineage = lied(stage, [*events[:index], altered, *events[index + 1 :]])

            assert lineage.verdict is Verdict.FINDINGS, (name_of(event), name)


def alterations(event: LedgerEvent) -> list[tuple[str, LedgerEvent]]:
    """Each member of an event changed, but those that are the ledger's own word for a reader: where it stands."""
    if isinstance(event, RegistryEvent):
        messages = [(name, replace(event, message=message)) for name, message in changed(event.message)]
        signed = [] if isinstance(event.message, AddOrganisation) else ["signature"]
        return [*messages, *changed(event, only=["at", *signed])]
    links = [(name, replace(event, link=link)) for name, link in changed(event.link)]
    return [*links, *changed(event, only=["round_hash", "previous_hash"])]


def changed(value: T, only: Sequence[str] = ()) -> list[tuple[str, T]]:
    dataclass_ = cast("Any", value)
    names = only or [each.name for each in fields(dataclass_)]
    return [(name, replace(dataclass_, **{name: other(getattr(value, name))})) for name in names]


def other(value: object) -> object:
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1]) + value[1:]
    assert isinstance(value, int)
    return type(value)(value + 1 if value < 3 else value - 1)
