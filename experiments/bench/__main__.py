"""Print the table of figures: `python -m experiments.bench [--quick] [--json]`.

Exit code 1 where a ratio passes its bound. Run it on a quiet machine: another load on two cores changes every figure.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys

from rich.console import Console
from rich.table import Table

from experiments.bench import aggregation, deltas, gas, recording, rounds, store
from experiments.bench.measure import Row


def main() -> int:
    """Measure, print, and tell whether every bound holds."""
    parser = argparse.ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that it runs; the figures mean little"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    arguments = parser.parse_args()
    size, repeats = (100_000, 3) if arguments.quick else (1_000_000, 7)
    console = Console(stderr=True)
    rows: list[Row] = []
    with console.status("aggregation"):
        rows += aggregation.measure(size, repeats)
    with console.status("recording"):
        rows += recording.measure(size, repeats)
    with console.status("the store"):
        rows += store.measure(64 if arguments.quick else 500, 1 if arguments.quick else 5)
    with console.status("deltas of models"):
        rows += deltas.measure((667,) if arguments.quick else (667, 20_000), 4 if arguments.quick else 9)
    for hidden in (667,) if arguments.quick else (667, 66_667):
        with console.status(f"rounds with {15 * hidden + 1:,} parameters"):
            rows += rounds.measure(hidden, 3)
    rows += gas.measure()
    if arguments.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows], indent=1) + "\n")
    else:
        Console(width=140).print(table(rows))
    return 0 if all(row.holds for row in rows) else 1


def table(rows: list[Row]) -> Table:
    """Return the rows as a table."""
    result = Table(title="fedchain against the bare work (medians, interleaved)")
    for heading in ("what", "", "against", "", "ratio", "bound", "note"):
        result.add_column(heading)
    for row in rows:
        bound = "" if row.bound is None else f"{'ok' if row.holds else 'MISSED'} <= {row.bound:g}"
        ours, peer = _shown(row.measured, row.unit), _shown(row.peer_measured, row.unit)
        result.add_row(row.name, ours, row.peer, peer, f"{row.ratio:.2f}", bound, row.note)
    return result


def _shown(value: float, unit: str) -> str:
    match unit:
        case "s":
            return f"{value * 1e3:.1f} ms"
        case "gas":
            return f"{value:,.0f} gas"
        case _:
            return f"{value / 1e6:.3f} MB"


if __name__ == "__main__":
    sys.exit(main())
