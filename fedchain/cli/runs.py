"""`fedchain runs`: what ran in this home, and how two runs differ."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.cli.text import epsilon_number, hex_id, short, time_text
from fedchain.core.errors import InputError
from fedchain.workflow.summary import RunRow

TEXT = """\
Lists the runs of the home, newest first. A run is one lineage of rounds; its state is finished, unfinished (repeat
the command that started it to resume) or damaged.

`fedchain runs diff A B` shows which configuration keys and results of two runs differ: model, metrics, epsilon.
What is listed is the home's own word; `fedchain verify` checks it.
"""
NOTE: Final = "self-reported: the home's own list; fedchain verify re-derives it"
METRICS_NOTE: Final = "Metrics are of the newest model on test rows (simulation), epsilon is that of the run so far."
ListRuns: TypeAlias = Callable[[Path], Sequence[RunRow]]
_FULL_ID: Final = re.compile(r"(0x)?[0-9a-f]{64}")


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verb `diff`."""
    parser = add_verb(verbs, "runs", _handle_list, summary="list the runs of a home, compare two", text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    diff = below.add_parser(
        "diff",
        help="show which configuration keys and results of two runs differ",
        description="Shows which configuration keys and results of two runs differ.",
        allow_abbrev=False,
    )
    diff.add_argument("a", metavar="A", help="a run: its id, or the beginning of it")
    diff.add_argument("b", metavar="B", help="the run to compare it with")
    diff.set_defaults(handler=_handle_diff)
    add_shared(diff, nested=True)


def show_runs(home: Path, screen: Screen, list_runs: ListRuns) -> Exit:
    """List the runs, newest first."""
    rows = sorted(list_runs(home), key=lambda row: (-row.created_at, row.run))
    if screen.as_json:
        screen.document({"level": NOTE, "runs": [_document(row) for row in rows]})
    elif not rows:
        screen.line("No runs yet. Start one: fedchain run experiment=heart")
    else:
        header = ["run", "experiment", "state", "rounds", "model CID", "created"]
        screen.table(f"Runs ({NOTE})", header, [_cells(row) for row in rows])
        for row in rows:
            if row.ending:
                screen.line(f"{short(row.run)}: {row.ending}")
    return Exit.DONE


def show_diff(home: Path, pair: tuple[str, str], screen: Screen, list_runs: ListRuns) -> Exit:
    """Tell the differences of two runs."""
    rows = list_runs(home)
    a, b = (_row(name, rows) for name in pair)
    config = _differences(_config(a), _config(b))
    results = _differences(_results(a), _results(b))
    if screen.as_json:
        screen.document({"level": NOTE, "a": hex_id(a.run), "b": hex_id(b.run), "config": config, "results": results})
        return Exit.DONE
    header = ["key", f"A {short(a.run)}", f"B {short(b.run)}"]
    for title, found in (("Configuration", config), ("Results", results)):
        if found:
            screen.table(title, header, [[key, _text(each["a"]), _text(each["b"])] for key, each in found.items()])
        else:
            screen.line(f"{title}: no difference")
    if any(key.startswith(("metrics.", "epsilon.")) for key in results):
        screen.line(METRICS_NOTE)
    return Exit.DONE


def full_run_id(name: str, list_runs: Callable[[], Sequence[RunRow]]) -> str:
    """Return a run's whole id; a whole one is not looked up, since a verifier may know runs that this home does not.

    Raises:
        InputError: if the beginning fits no run or several.
    """
    return hex_id(name) if _FULL_ID.fullmatch(name) else hex_id(_row(name, list_runs()).run)


def recorded_runs(home: Path) -> Sequence[RunRow]:
    """List for real."""
    from fedchain.wiring.runs import runs  # noqa: PLC0415 - brings the store with it

    return runs(home)


def _row(name: str, rows: Sequence[RunRow]) -> RunRow:
    wanted = name.removeprefix("0x").lower()
    found = [row for row in rows if wanted and row.run.removeprefix("0x").startswith(wanted)]
    if len(found) == 1:
        return found[0]
    ids = ", ".join(short(row.run) for row in (found or rows)[:5])
    expected = "the beginning of one run" if found else "a run of this home"
    got = f"{name!r}, which fits {len(found)}: {ids}" if found else repr(name)
    raise InputError("run", expected=expected, got=got, remedy="`fedchain runs` lists them")


def _config(row: RunRow) -> dict[str, object]:
    return _flat(json.loads(row.config)) if row.config else {}


def _results(row: RunRow) -> dict[str, object]:
    return {
        "state": row.state,
        "rounds_ended": row.rounds_ended,
        "ending": row.ending,
        "model_cid": row.model_cid,
        "model_digest": row.model_digest,
        "created_at": time_text(row.created_at),
        **{f"metrics.{who}.{name}": value for who, some in row.metrics.items() for name, value in some.items()},
        **{f"epsilon.{client}": epsilon_number(micro) for client, micro in row.micro_epsilon.items()},
    }


def _document(row: RunRow) -> dict[str, object]:
    return {
        "run": hex_id(row.run),
        "experiment": row.experiment,
        "state": row.state,
        "rounds_ended": row.rounds_ended,
        "rounds": row.rounds,
        "ending": row.ending,
        "model_cid": row.model_cid,
        "model_digest": row.model_digest,
        "metrics": row.metrics,
        "epsilon": {client: epsilon_number(micro) for client, micro in row.micro_epsilon.items()},
        "created_at": row.created_at,
        "config": json.loads(row.config) if row.config else None,
    }


def _cells(row: RunRow) -> list[str]:
    ended = f"{row.rounds_ended}/{row.rounds}"
    return [short(row.run), row.experiment, row.state, ended, row.model_cid, time_text(row.created_at)]


def _differences(a: dict[str, object], b: dict[str, object]) -> dict[str, dict[str, object]]:
    keys = [*a, *(key for key in b if key not in a)]
    return {key: {"a": a.get(key), "b": b.get(key)} for key in keys if a.get(key) != b.get(key)}


def _text(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "-" if value is None else str(value)


def _flat(value: object, prefix: str = "") -> dict[str, object]:
    if not isinstance(value, dict):
        return {prefix.removesuffix("."): value}
    return {key: item for name, each in value.items() for key, item in _flat(each, f"{prefix}{name}.").items()}


def _handle_list(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_runs(home_of(options), screen, recorded_runs)


def _handle_diff(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_diff(home_of(options), (options.a, options.b), screen, recorded_runs)
