"""What a home says of keeping: its policy, its holds, and what was removed.

`retention.json` is the policy, written by a person; where there is none, everything is kept. `holds/` has one file a
round of a run, `removals/` one a garbage collection.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path

import rfc8785

from fedchain.adapters.files import create_file, explained, make_folder, replace_file
from fedchain.adapters.home import Home
from fedchain.core import document
from fedchain.core.errors import FormatError
from fedchain.core.json_text import parse
from fedchain.core.retention import HOLD_FORMAT, KEEP_ALL, Hold, HoldEvent, Removals, RetentionPolicy, Why


def read_policy(home: Home) -> RetentionPolicy:
    """Return the policy of a home, laid out as its author likes.

    Raises:
        FormatError: if it is none: a key too many or too few, a number of days that is none.
    """
    path = home.root / "retention.json"
    with explained(path):
        if not path.exists():
            return KEEP_ALL
        data = path.read_bytes()
    try:
        return document.from_bytes(RetentionPolicy, rfc8785.dumps(parse(data)))
    except (ValueError, FormatError) as error:
        raise FormatError(f"{path} is no retention policy", got=error, remedy="docs/cli.md has an example") from error


def read_holds(home: Home) -> Sequence[Hold]:
    """Return every hold of a home, the released ones included.

    Raises:
        FormatError: if one is damaged.
    """
    folder = home.root / "holds"
    with explained(folder):
        paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return [_read(path) for path in paths]


def note_hold(home: Home, hold: Hold, event: HoldEvent) -> Hold:
    """Add a decision to a hold, durably, and return all of it; the same decision twice in a row is one."""
    path = home.root / "holds" / f"{hold.run.hex()}-{hold.round}.json"
    with explained(path):
        known = _read(path) if path.exists() else hold
    last = known.events[-1] if known.events else HoldEvent(False, event.reason, 0)
    if (last.is_held, last.reason) == (event.is_held, event.reason) or last.is_held is event.is_held is False:
        return known
    changed = Hold(HOLD_FORMAT, known.run, known.round, known.model, (*known.events, event))
    make_folder(path.parent)
    replace_file(path, document.to_bytes(changed))
    return changed


def note_removals(home: Home, removals: Removals) -> None:
    """Write down what is about to be removed."""
    folder = home.root / "removals"
    make_folder(folder)
    create_file(folder / f"{removals.at}-{secrets.token_hex(4)}.json", document.to_bytes(removals))


def read_retired(home: Home) -> frozenset[str]:
    """Return the CIDs of what was removed because its retention had ended.

    Raises:
        FormatError: if a note of removals is damaged.
    """
    folder, retired = home.root / "removals", set[str]()
    with explained(folder):
        for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
            try:
                removals = document.from_bytes(Removals, path.read_bytes())
            except FormatError as error:
                raise FormatError(f"{path} is no note of removals", got=error, remedy="restore it") from error
            retired |= {each.cid for each in removals.removed if each.why is Why.EXPIRED}
    return frozenset(retired)


def _read(path: Path) -> Hold:
    with explained(path):
        data = path.read_bytes()
    try:
        hold = document.from_bytes(Hold, data)
    except FormatError as error:
        raise FormatError(f"{path} is no hold", got=error, remedy="restore it, or remove it to release") from error
    if hold.format != HOLD_FORMAT:
        raise FormatError(f"{path} is of another version", expected=HOLD_FORMAT, got=hold.format[:40])
    return hold
