"""`fedchain model export`: a model of the record as a safetensors file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from fedchain.adapters.model_files import Checkpoint
from fedchain.cli.arguments import Verbs, add_shared, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen

TEXT: Final = """\
Writes a model as a safetensors file in float64, which holds it exactly: a run that starts from it with
model.initial=FILE starts from a model with the same digest. The file's metadata say which model of which run it is.
Nothing is verified: `fedchain lineage` does that.
"""
NOTE: Final = "of the test rows of all sites (simulation)"


def add_export(below: Verbs) -> None:
    """Add the verb to those of `fedchain model`."""
    act = below.add_parser(
        "export",
        help="write a model as a safetensors file",
        description=TEXT,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    act.add_argument("model", metavar="MODEL", help="a run (its newest model), or the CID or digest of a model")
    act.add_argument("--to", metavar="FILE", required=True, help="the new file; one that is there already is kept")
    act.add_argument("--best", action="store_true", help="the run's best model by checkpoint.metric, not its newest")
    act.set_defaults(handler=_handle)
    add_shared(act, nested=True)


def show(screen: Screen, to: Path, checkpoint: Checkpoint) -> Exit:
    """Tell what was written."""
    if screen.as_json:
        screen.document({"file": str(to), **checkpoint.metadata()})
        return Exit.DONE
    scored = f", {checkpoint.metric} {float(checkpoint.value):.3f} {NOTE}" if checkpoint.metric else ""
    screen.line(f"Wrote {to}: run {checkpoint.run}, round {checkpoint.round}{scored}")
    screen.line(f"Model CID     {checkpoint.cid}")
    screen.line(f"Model digest  {checkpoint.digest}")
    return Exit.DONE


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.export import export  # noqa: PLC0415 - brings the store with it

    to = Path(options.to)
    return show(screen, to, export(home_of(options), options.model, to, best=options.best))
