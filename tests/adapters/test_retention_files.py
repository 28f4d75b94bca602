from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.adapters.home import Home, create_home
from fedchain.adapters.retention_files import note_hold, note_removals, read_holds, read_policy
from fedchain.core import document
from fedchain.core.errors import FormatError
from fedchain.core.retention import (
    HOLD_FORMAT,
    KEEP_ALL,
    POLICY_FORMAT,
    REMOVALS_FORMAT,
    Hold,
    HoldEvent,
    HoldReason,
    Removal,
    Removals,
    RetentionPolicy,
    Why,
)

UNDECIDED = Hold(HOLD_FORMAT, b"\x0a" * 32, 2, b"\x0b" * 32, ())
HELD = HoldEvent(True, HoldReason.AUDIT, 100)
RELEASED = HoldEvent(False, HoldReason.AUDIT, 200)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home")


def test_without_a_policy_everything_is_kept(home: Home) -> None:
    assert read_policy(home) == KEEP_ALL


def test_a_policy_may_be_laid_out_as_its_author_likes(home: Home) -> None:
    (home.root / "retention.json").write_text(
        '{\n  "format": "fedchain/retention/1",\n  "payload_days": 730,\n  "rejected_days": 90,\n'
        '  "released_days": 3650,\n  "unnamed_days": 7\n}\n'
    )
    assert read_policy(home) == RetentionPolicy(POLICY_FORMAT, 730, 90, 3650, 7)


WRITTEN = '"payload_days": 730, "rejected_days": 90, "released_days": null, "unnamed_days": 7}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": "fedchain/retention/1", "payload_days": 730}',
        '{"format": "fedchain/retention/2", ' + WRITTEN,
        '{"format": "fedchain/retention/1", ' + WRITTEN.replace("730", "-1"),
        '{"format": "fedchain/retention/1", ' + WRITTEN.replace("730", "1.5"),
        '{"format": "fedchain/retention/1", ' + WRITTEN.replace("730", '"x"'),
        '{"format": "fedchain/retention/1", ' + WRITTEN.replace("7}", "null}"),
        '{"format": "fedchain/retention/1", "payload": 1, ' + WRITTEN,
    ],
)
def test_what_is_no_policy_is_one_line_and_never_a_default(home: Home, text: str) -> None:
    (home.root / "retention.json").write_text(text)
    with pytest.raises(FormatError, match=r"retention\.json is no retention policy"):
        read_policy(home)


def test_decisions_about_a_hold_add_up_and_repeating_one_changes_nothing(home: Home) -> None:
    assert read_holds(home) == []
    for event in (HELD, HoldEvent(True, HoldReason.AUDIT, 150), RELEASED, HoldEvent(False, HoldReason.INCIDENT, 300)):
        note_hold(home, UNDECIDED, event)
    (hold,) = read_holds(home)
    assert (hold.events, hold.is_held) == ((HELD, RELEASED), False)
    again = HoldEvent(True, HoldReason.REGULATOR, 400)
    assert note_hold(home, UNDECIDED, again).events == (HELD, RELEASED, again)
    assert read_holds(home)[0].is_held


def test_a_second_reason_is_kept_beside_the_first(home: Home) -> None:
    other = HoldEvent(True, HoldReason.LITIGATION, 150)
    note_hold(home, UNDECIDED, HELD)
    assert note_hold(home, UNDECIDED, other).events == (HELD, other)


def test_releasing_what_was_never_held_writes_nothing(home: Home) -> None:
    assert note_hold(home, UNDECIDED, RELEASED).events == ()
    assert read_holds(home) == []


def test_a_damaged_hold_is_an_error_and_no_release(home: Home) -> None:
    note_hold(home, UNDECIDED, HELD)
    (path,) = (home.root / "holds").iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FormatError, match="no hold"):
        read_holds(home)


def test_removals_are_written_one_file_each(home: Home) -> None:
    removals = Removals(REMOVALS_FORMAT, 7, KEEP_ALL, (Removal("bafk", Why.UNNAMED, 3),))
    note_removals(home, removals)
    note_removals(home, removals)
    paths = list((home.root / "removals").iterdir())
    assert [document.from_bytes(Removals, path.read_bytes()) for path in paths] == [removals, removals]
