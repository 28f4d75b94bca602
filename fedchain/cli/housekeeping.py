"""`fedchain store usage|scrub|gc|quota`: how full the store is, what is wrong in it, and what may go."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Verbs, add_shared, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.core.errors import InputError
from fedchain.workflow.keeping import Collected, StoreFlaw, StoreUsage

USAGE: Final = """\
Shows how many artifacts the store has, their bytes, its quota, and what is free on the disk.
"""
SCRUB: Final = """\
Reads every artifact and tells what is damaged (its bytes do not have its name), what the record names and is missing,
what killed commands left over, and what nothing names. Changes nothing. `fedchain verify` re-derives what the record
says; this looks at the files.

exit codes: 0 nothing is damaged or missing, 1 something is
"""
COLLECT: Final = """\
Removes what no round, no journal of a run, no vote and no hold names and was not put in the last days, and what the
home's retention policy (retention.json) lets end: by default nothing. What it removes is written to removals/ first.
Where a document that could name artifacts cannot be read, nothing is removed.

An update's payload that was removed cannot be re-derived any more: `fedchain verify` says "anchored" (exit 3).
"""
QUOTA: Final = """\
Sets the most bytes that the store may have, or takes the quota away. A put that would pass it ends in one line.
"""
_SIZE: Final = re.compile(r"([0-9]{1,15})(|k|M|G|T)B?", re.ASCII)
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
Collect: TypeAlias = Callable[[Path, bool], Collected]
Scrub: TypeAlias = Callable[[Path], tuple[StoreFlaw, ...]]


def add_verbs(below: Verbs) -> None:
    """Add the verbs below `fedchain store`."""
    for name, text, handler in (
        ("usage", USAGE, handle_usage), ("scrub", SCRUB, _handle_scrub),
        ("gc", COLLECT, _handle_collect), ("quota", QUOTA, _handle_quota),
    ):  # fmt: skip
        nested = below.add_parser(
            name,
            help=text.partition(".")[0].partition("\n")[0].lower(),
            description=text,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        nested.set_defaults(handler=handler)
        add_shared(nested, nested=True)
        if name == "gc":
            nested.add_argument("--dry-run", action="store_true", help="only tell what would be removed")
        if name == "quota":
            nested.add_argument("size", metavar="SIZE", help="bytes, or a number with k, M, G or T; `off` for none")


def handle_usage(options: argparse.Namespace, screen: Screen) -> Exit:
    """Show how full the store is."""
    from fedchain.wiring.keeping import measure  # noqa: PLC0415 - brings the chain with it

    return show_usage(measure(home_of(options)), screen)


def show_usage(found: StoreUsage, screen: Screen) -> Exit:
    """Tell how full the store is."""
    if screen.as_json:
        screen.document(asdict(found))
        return Exit.DONE
    screen.line(f"{found.artifacts} artifacts, {size_text(found.bytes)}")
    screen.line(f"quota: {'none' if found.quota is None else size_text(found.quota)}")
    screen.line(f"free on the disk: {size_text(found.free_on_disk)}")
    return Exit.DONE


def show_scrub(home: Path, screen: Screen, scrub: Scrub) -> Exit:
    """Scrub and tell what is wrong."""
    found = scrub(home)
    faults = [each for each in found if each.is_fault]
    code = Exit.FINDINGS if faults else Exit.DONE
    if screen.as_json:
        screen.document({"flaws": [asdict(each) for each in found], "faults": len(faults), "exit": int(code)})
        return code
    if found:
        header = ["what", "where", "detail", "needed for"]
        rows = [[each.flaw, each.where, each.detail, ", ".join(each.needed_for)] for each in found]
        screen.table("Store", header, rows)
    screen.line("nothing is damaged or missing" if not faults else f"{len(faults)} artifacts are damaged or missing")
    return code


def show_collected(home: Path, screen: Screen, collect: Collect, *, is_dry: bool) -> Exit:
    """Collect garbage and tell what went."""
    found = collect(home, is_dry)
    freed = sum(each.size for each in found.removed)
    if screen.as_json:
        screen.document({
            "dry_run": is_dry, "removed": [asdict(each) for each in found.removed], "bytes": freed,
            "kept": found.kept, "swept": found.is_swept,
        })  # fmt: skip
        return Exit.DONE
    for each in found.removed:
        screen.line(f"{'would remove' if is_dry else 'removed'} {each.cid} ({each.why}, {size_text(each.size)})")
    screen.line(f"{len(found.removed)} artifacts, {size_text(freed)}; {found.kept} are kept")
    if not is_dry and not found.is_swept:
        screen.line("leftovers stay: another process is writing")
    return Exit.DONE


def size_of(text: str) -> int | None:
    """Read a size; None is `off`.

    Raises:
        InputError: if it is none.
    """
    found = _SIZE.fullmatch(text)
    if text == "off":
        return None
    if found is None:
        raise InputError("SIZE", expected="a number, perhaps with k, M, G or T, or off", got=repr(text)[:80])
    return int(found[1]) * _UNITS[found[2]]


def size_text(size: int) -> str:
    """Return a number of bytes for people."""
    for unit in ("T", "G", "M", "k"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.1f} {unit}B"
    return f"{size} bytes"


def _handle_scrub(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keeping import scrub  # noqa: PLC0415 - brings the chain with it

    return show_scrub(home_of(options), screen, scrub)


def _handle_collect(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_collected(home_of(options), screen, _collected, is_dry=options.dry_run)


def _collected(home: Path, is_dry: bool) -> Collected:
    from fedchain.wiring.keeping import collect  # noqa: PLC0415 - brings the chain with it

    return collect(home, is_dry=is_dry)


def _handle_quota(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keeping import set_quota  # noqa: PLC0415 - brings the chain with it

    return show_usage(set_quota(home_of(options), size_of(options.size)), screen)
