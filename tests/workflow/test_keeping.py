"""What a store must keep, over a federation in memory: all that the record, a journal or a hold leads to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedchain.core.cid import Cid
from fedchain.core.errors import IntegrityError
from fedchain.core.lineage import Verdict
from fedchain.core.retention import DAY_S, KEEP_ALL, Kind, Why
from fedchain.ports.ledger import LinkEvent
from fedchain.workflow.keeping import Anchors, Held, Marks, Terms, marks_of
from tests.scenarios.federation import Federation
from tests.workflow.forgery import damage, finished, lose

SHORT = replace(KEEP_ALL, payload_days=30, rejected_days=10)
YEAR_S = 365 * DAY_S


def links_of(new: Federation) -> list[LinkEvent]:
    return [each for each in new.ledger.events() if isinstance(each, LinkEvent)]


def marks(new: Federation, digests: frozenset[bytes] = frozenset()) -> Marks:
    return marks_of(new.store, Anchors(links_of(new), {new.plan.manifest.run: new.journal.entries()}, digests))


def terms(new: Federation, *held: Held, days: int = 365) -> Terms:
    return Terms(SHORT, held, new.clock.now() + days * DAY_S)


def removable(new: Federation, found: Marks, chosen: Terms) -> dict[Cid, Why]:
    whys = {cid: found.why_removed(cid, chosen) for cid in new.store.cids()}
    return {cid: why for cid, why in whys.items() if why is not None}


def payloads(new: Federation, *rounds: int) -> set[Cid]:
    return {Cid.parse(each.payload_cid) for round_ in rounds for each in new.manifest(round_).accepted}


def rejected(new: Federation) -> set[Cid]:
    return {Cid.parse(each.evidence_cid) for round_ in (1, 2) for each in new.manifest(round_).rejected}


def test_everything_that_a_run_stored_is_named_and_kept_for_ever_by_default() -> None:
    new = finished()
    found = marks(new)
    assert found.unread == {}
    assert removable(new, found, Terms(KEEP_ALL, (), new.clock.now() + 100 * YEAR_S)) == {}


def test_what_nothing_names_may_go_and_what_a_digest_names_may_not() -> None:
    new = finished()
    stray, report = new.store.put(b"a stray"), new.store.put(b"a reviewer's report")
    found = marks(new, frozenset({report.digest}))
    assert removable(new, found, terms(new, days=0)) == {stray: Why.UNNAMED}


def test_a_policy_ends_payloads_and_rejected_replies_each_at_its_day_and_nothing_else() -> None:
    new = finished()
    found = marks(new)
    assert removable(new, found, terms(new, days=5)) == {}
    assert removable(new, found, terms(new, days=15)) == dict.fromkeys(rejected(new), Why.EXPIRED)
    assert removable(new, found, terms(new)) == dict.fromkeys(rejected(new) | payloads(new, 1, 2), Why.EXPIRED)
    kinds = {mark.kind for cid in payloads(new, 1, 2) for mark in found.of[cid]}
    assert kinds == {Kind.PAYLOAD}


def test_a_hold_keeps_the_run_up_to_its_round() -> None:
    new = finished()
    found = marks(new)
    expected = payloads(new, 2) - payloads(new, 1)
    assert set(removable(new, found, terms(new, Held(new.plan.manifest.run, 1)))) == expected
    assert removable(new, found, terms(new, Held(new.plan.manifest.run, 2))) == {}
    assert set(removable(new, found, terms(new, Held(b"\x0b" * 32, 2)))) == rejected(new) | payloads(new, 1, 2)


@pytest.mark.parametrize("steps", range(2, 40, 3))
def test_nothing_that_an_unfinished_run_names_may_go(steps: int) -> None:
    new = finished()
    whole = new.journal.written
    new.journal.written = whole[:-1][:steps]
    anchors = Anchors([], {new.plan.manifest.run: new.journal.entries()}, frozenset())
    named = set(marks_of(new.store, anchors).of)
    assert removable(new, marks_of(new.store, anchors), terms(new)).keys().isdisjoint(named)
    assert {cid for cid in named if not new.store.has(cid)} == set()


def test_a_run_that_is_closed_but_not_finished_keeps_its_payloads() -> None:
    new = finished()
    new.journal.written = new.journal.written[:-1]
    assert removable(new, marks(new), terms(new)) == {}


def test_an_open_run_of_another_machine_keeps_its_payloads() -> None:
    new = finished()
    open_links = links_of(new)[:-1]
    found = marks_of(new.store, Anchors(open_links, {}, frozenset()))
    assert not set(removable(new, found, terms(new))) & (payloads(new, 1, 2) | rejected(new))


@pytest.mark.parametrize("harm", [damage, lose])
def test_where_a_manifest_cannot_be_read_nothing_may_be_removed(harm: Callable[[Federation, str], None]) -> None:
    new = finished()
    cid = next(cid for cid in new.store.cids() if cid.digest == links_of(new)[0].link.manifest_digest)
    harm(new, cid.text)
    with pytest.raises(IntegrityError, match=cid.text):
        marks(new).require_complete()


def test_what_is_left_still_verifies() -> None:
    new = finished()
    new.store.put(b"a stray")
    for cid in removable(new, marks(new), Terms(KEEP_ALL, (), new.clock.now())):
        new.store.remove(cid)
    assert new.verify(trust=new.trust(), scrub=True).verdict is Verdict.VERIFIED
