"""What every journal does, whatever it is made of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedchain.adapters.journal_file import FileJournal
from fedchain.ports.journal import Entry, Journal, Step
from tests.doubles.journal import MemoryJournal

entries = st.builds(Entry, st.sampled_from(Step), st.binary(max_size=300))


@pytest.fixture(params=["memory", "file"])
def make_journal(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Journal]:
    made: list[Journal] = []

    def make() -> Journal:
        match request.param:
            case "memory":
                made.append(MemoryJournal())
            case _:
                made.append(FileJournal(tmp_path / f"run{len(made)}" / "journal"))
        return made[-1]

    return make


def test_a_new_journal_is_empty(make_journal: Callable[[], Journal]) -> None:
    assert list(make_journal().entries()) == []


@given(written=st.lists(entries, max_size=8))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_entries_come_back_whole_and_in_order(make_journal: Callable[[], Journal], written: list[Entry]) -> None:
    journal = make_journal()
    for each in written:
        journal.append(each)
    assert list(journal.entries()) == written


def test_entries_that_are_appended_together_are_kept_as_if_one_by_one(make_journal: Callable[[], Journal]) -> None:
    journal = make_journal()
    together = [Entry(Step.ACCEPTED, b"%d" % number) for number in range(3)]
    journal.append()
    journal.append(Entry(Step.OPENED, b""), *together)
    journal.append(Entry(Step.DECIDED, b""))
    assert list(journal.entries()) == [Entry(Step.OPENED, b""), *together, Entry(Step.DECIDED, b"")]


def test_equal_entries_are_kept_apart(make_journal: Callable[[], Journal]) -> None:
    journal = make_journal()
    for _ in range(3):
        journal.append(Entry(Step.OPENED, b"same"))
    assert len(journal.entries()) == 3


def test_threads_that_append_together_lose_nothing(make_journal: Callable[[], Journal]) -> None:
    journal = make_journal()

    def write(name: int) -> None:
        for number in range(20):
            journal.append(Entry(Step.ACCEPTED, b"%d:%d" % (name, number)))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    bodies = [each.body for each in journal.entries()]
    assert sorted(bodies) == sorted(b"%d:%d" % (name, number) for name in range(4) for number in range(20))
    for name in range(4):
        mine = [body for body in bodies if body.startswith(b"%d:" % name)]
        assert mine == [b"%d:%d" % (name, number) for number in range(20)]


def test_what_was_returned_does_not_change_with_later_entries(make_journal: Callable[[], Journal]) -> None:
    journal = make_journal()
    journal.append(Entry(Step.PLANNED, b"1"))
    before = journal.entries()
    journal.append(Entry(Step.OPENED, b"2"))
    assert len(before) == 1
