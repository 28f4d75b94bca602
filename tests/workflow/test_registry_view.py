"""The registry as of now: replayed when its head moved, and refused when the events do not lead to the head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from fedchain.core.errors import IntegrityError
from fedchain.core.record import RoundLink
from fedchain.core.registry import RegistryState
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, Seal
from fedchain.workflow.registry_view import RegistryView
from tests.doubles.ledger import MemoryLedger
from tests.doubles.power import PowerCutError, at
from tests.scenarios.federation import Federation, Setup, federation


@dataclass(slots=True)
class Watched:
    """A ledger that counts how often its events are read, and lets something happen just before or after."""

    ledger: MemoryLedger
    before: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    after: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    reads: int = 0
    head: bytes | None = None

    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def events(self) -> Sequence[LedgerEvent]:
        self.reads += 1
        if self.before:
            self.before.pop(0)()
        events = self.ledger.events()
        if self.after:
            self.after.pop(0)()
        return events

    def registry_head(self) -> bytes:
        return self.ledger.registry_head() if self.head is None else self.head

    def head_slot(self, run: bytes) -> bytes:
        return self.ledger.head_slot(run)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        return self.ledger.find(run, round_)

    def check_lead(self) -> None:
        self.ledger.check_lead()

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        return self.ledger.seal(link, previous_hash)


def watched() -> tuple[Federation, Watched]:
    new = federation(Setup(sites=2))
    return new, Watched(new.ledger)


def test_an_empty_registry_is_read_without_its_events() -> None:
    new = federation(Setup(sites=2))
    new.record.events, new.record.state = [], RegistryState()
    ledger = Watched(new.ledger)
    assert RegistryView(ledger).current() == RegistryState()
    assert ledger.reads == 0


def test_the_view_holds_what_the_ledger_holds() -> None:
    new, ledger = watched()
    assert RegistryView(ledger).current() == new.record.state


def test_the_events_are_replayed_only_after_the_head_has_moved() -> None:
    new, ledger = watched()
    view = RegistryView(ledger)
    first = view.current()
    assert view.current() is first
    assert ledger.reads == 1
    new.withdraw_consent(0)
    assert view.current() == new.record.state != first
    assert ledger.reads == 2


def test_what_happens_between_the_reads_of_head_and_events_is_part_of_the_view() -> None:
    new, ledger = watched()
    ledger.before = [lambda: new.submit(0, new.grant_of(0))]
    assert RegistryView(ledger).current() == new.record.state
    assert ledger.reads == 1
    ledger.after = [lambda: new.submit(0, new.grant_of(0))] * 3
    assert RegistryView(ledger).current() == new.record.state
    assert ledger.reads == 1 + 4


def test_events_that_do_not_lead_to_the_head_are_refused() -> None:
    new, ledger = watched()
    dropped = new.record.events.pop()
    with pytest.raises(IntegrityError, match="do not lead to its head"):
        RegistryView(ledger).current()
    new.record.events.append(dropped)
    ledger.head = b"\x01" * 32
    with pytest.raises(IntegrityError, match="do not lead to its head"):
        RegistryView(ledger).current()


def test_the_head_at_a_link_is_the_one_of_the_actions_before_it() -> None:
    new = federation(Setup(sites=3, rounds=2))
    with pytest.raises(PowerCutError):
        new.machine(at("after journal sealed")).run()
    heads = [new.ledger.registry_head()]
    new.withdraw_consent(0)
    heads.append(new.ledger.registry_head())
    new.run()
    new.revoke_device(1)
    view, run = RegistryView(new.ledger), new.plan.manifest.run
    assert [view.head_at(run, round_) for round_ in (1, 2, 3)] == [heads[0], heads[1], heads[1]]
    assert view.current().head not in heads
