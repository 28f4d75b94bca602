"""`fedchain store`: the artifacts of the home, and taking them elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli import housekeeping
from fedchain.cli.arguments import Handler, Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.runs import full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError

SUMMARY: Final = "move, check and keep house among the artifacts"
TEXT: Final = """\
The store keeps all artifacts (models, updates, manifests, reports), each named by its CID, the hash of its bytes.
`fedchain store export` and `fedchain store import` take artifacts elsewhere and back as CAR files, which every node of
IPFS reads.
`fedchain store usage` shows how full it is, `scrub` reads all of it and tells what is damaged, missing or left over,
`gc` removes what nothing needs, and `quota` sets how large it may grow.
"""
EXPORT: Final = """\
Writes artifacts to a CAR file: one by its CID, or with --run all that the record of a run names. Every byte is verified
on the way. A node of IPFS takes the file with `ipfs dag import FILE`, and pins it.
"""
IMPORT: Final = """\
Puts the artifacts of a CAR file into the store. Every block is verified before the first one is kept; a file that lacks
a block of what it announces is refused.
"""
Export: TypeAlias = Callable[[Path, Sequence[Cid], Path], int]
Import: TypeAlias = Callable[[Path, Path], Sequence[Cid]]


@dataclass(frozen=True, slots=True)
class Below:
    """One verb under `fedchain store`."""

    name: str
    text: str
    handler: Handler
    add_arguments: Callable[[argparse.ArgumentParser], None]


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "store", housekeeping.handle_usage, summary=SUMMARY, text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    for each in BELOW:
        nested = below.add_parser(
            each.name,
            help=each.text.partition(".")[0].partition(":")[0].lower(),
            description=each.text,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        nested.set_defaults(handler=each.handler)
        add_shared(nested, nested=True)
        each.add_arguments(nested)
    housekeeping.add_verbs(below)


def show_export(home: Path, roots: Sequence[Cid], file: Path, screen: Screen, export: Export) -> Exit:
    """Write a CAR file and say what it holds."""
    size = export(home, roots, file)
    if screen.as_json:
        screen.document({"file": str(file), "bytes": size, "roots": [each.text for each in roots]})
    else:
        screen.line(f"{len(roots)} artifacts in {file} ({size} bytes); a node takes them: ipfs dag import {file}")
    return Exit.DONE


def show_import(home: Path, file: Path, screen: Screen, take: Import) -> Exit:
    """Read a CAR file and say what came."""
    roots = take(home, file)
    if screen.as_json:
        screen.document({"file": str(file), "roots": [each.text for each in roots]})
        return Exit.DONE
    for each in roots:
        screen.line(each.text)
    return Exit.DONE


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cid", metavar="CID", nargs="?", help="the artifact")
    parser.add_argument("file", metavar="FILE", help="a file that does not exist yet")
    parser.add_argument("--run", metavar="R", help="all artifacts of a run: its id, or the beginning of it")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a CAR file")


def _handle_export(options: argparse.Namespace, screen: Screen) -> Exit:
    home = home_of(options)
    if (options.cid is None) == (options.run is None):
        raise InputError("fedchain store export", expected="a CID or --run", got="both" if options.cid else "neither")
    if options.cid is not None:
        roots: Sequence[Cid] = (Cid.parse(options.cid),)
    else:
        roots = _artifacts(home, full_run_id(options.run, lambda: recorded_runs(home)))
    return show_export(home, roots, Path(options.file), screen, _export)


def _handle_import(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_import(home_of(options), Path(options.file), screen, _import)


def _artifacts(home: Path, run: str) -> Sequence[Cid]:
    from fedchain.wiring.cars import artifacts_of  # noqa: PLC0415 - brings the chain with it

    return artifacts_of(home, run)


def _export(home: Path, roots: Sequence[Cid], file: Path) -> int:
    from fedchain.wiring.cars import export  # noqa: PLC0415 - brings the chain with it

    return export(home, roots, file)


def _import(home: Path, file: Path) -> Sequence[Cid]:
    from fedchain.wiring.cars import import_file  # noqa: PLC0415 - brings the chain with it

    return import_file(home, file)


BELOW: Final[tuple[Below, ...]] = (
    Below("export", EXPORT, _handle_export, _add_export),
    Below("import", IMPORT, _handle_import, _add_import),
)
