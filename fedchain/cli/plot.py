"""`fedchain plot`: pictures of runs, metrics by round and site and privacy against utility."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Verbs, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen

TEXT: Final = """\
Draws two SVG files: metrics.svg (metrics by round and site, or by run where several are named) and privacy.svg (the
epsilon spent against the metric, a point a round). The metrics are of the test rows of all sites, which only a
simulation has, and the home's own word.

  fedchain plot RUN                      into the run's folder of the home
  fedchain plot RUN RUN --to pictures    two runs compared
"""
NOTE: Final = "self-reported: the home's own word; computed on test rows (simulation)"
Draw: TypeAlias = Callable[[Path, Sequence[str], Path | None], Sequence[Path]]


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "plot", _handle, summary="draw the metrics and the privacy of runs", text=TEXT)
    parser.add_argument("runs", metavar="RUN", nargs="+", help="a run: its id, or the beginning of it")
    parser.add_argument("--to", metavar="DIR", help="the folder for the files (default: the run's own in the home)")


def plot(home: Path, runs: Sequence[str], to: Path | None, screen: Screen, draw: Draw) -> Exit:
    """Draw, and tell what was written."""
    files = draw(home, runs, to)
    if screen.as_json:
        screen.document({"level": NOTE, "files": [str(each) for each in files]})
        return Exit.DONE
    for each in files:
        screen.line(f"Wrote {each}")
    screen.line(f"({NOTE})")
    return Exit.DONE


def _draw(home: Path, runs: Sequence[str], to: Path | None) -> Sequence[Path]:
    from fedchain.wiring import plots  # noqa: PLC0415 - brings Matplotlib and the store

    return plots.plot(home, runs, to)


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    to = None if options.to is None else Path(options.to)
    return plot(home_of(options), options.runs, to, screen, _draw)
