"""The tables of a comparison as Markdown, and their place in the docs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from experiments.engine.peers.goals import Goal, ratio, round_of, whole_of
from experiments.engine.peers.programs import MISSING, OURS, PROGRAMS, ROOT, Start, Starts
from experiments.engine.recorded_line import Line

PAGE: Final = ROOT / "docs" / "simulation-speed.md"
MARKS: Final = ("<!-- peers: begin -->", "<!-- peers: end -->")
_RECORDED: Final = "fedchain, recorded (one run)"


def text_of(columns: Mapping[str, Starts], recorded: Sequence[Line] | None, goals: Sequence[Goal]) -> str:
    """Return all tables: a round, the whole, recording, goals."""
    lines = {line.name: line for line in recorded or ()}
    rounds = _table(columns, "ms", lambda starts: _thousand(round_of(starts)), {n: e.round for n, e in lines.items()})
    pieces = ["A round:", rounds, "From start to end, imports included:", _table(columns, "s", whole_of, {})]
    pieces.append("\n".join(f"Not in the tables: {name}, {why}." for name, why in MISSING.items()))
    if recorded is not None:
        pieces += ["A round with recording on, in seconds:", recording(recorded)]
    return "\n\n".join([*pieces, "Goals:", goals_table(goals)])


def recording(lines: Sequence[Line]) -> str:
    """Return what recording costs: the round and its parts, hashing and writing the same bytes, and the drain."""
    headings = ("round", "engine", "evaluation", "recording", "hash and write", "drain", "recording / hash and write")
    rows = ["| | " + " | ".join((*headings, "engine and recording / engine")) + " |", "|---" * 9 + "|"]
    for line in lines:
        figures = (line.round, line.engine, line.evaluation, line.recording, line.bound, line.drain)
        ratios = (line.recording / line.bound, (line.engine + line.recording) / line.engine)
        cells = [*(f"{each:.3f}" for each in figures), *(f"{each:.2f}" for each in ratios)]
        rows.append(f"| {line.name} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def goals_table(goals: Sequence[Goal]) -> str:
    """Return each goal with its ratio and what became of it."""
    rows = ["| | goal | wanted | got | |", "|---" * 5 + "|"]
    for goal in goals:
        wanted = f"at {'least' if goal.is_least else 'most'} {goal.bound:.2f}"
        got = "-" if goal.ratio is None else f"{goal.ratio:.2f}"
        rows.append(f"| {goal.workload} | {goal.what} | {wanted} | {got} | {goal.verdict} |")
    return "\n".join(rows)


def write(text: str, conditions: str) -> None:
    """Put the tables between the marks of the page, with today's date."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    PAGE.write_text(between_marks(PAGE.read_text(), f"Measured on {today}: {conditions}.\n\n{text}"))


def between_marks(page: str, text: str) -> str:
    """Return the page with the text in the place of what lies between its marks."""
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}"


def _table(
    columns: Mapping[str, Starts],
    unit: str,
    figure: Callable[[Sequence[Start]], float | None],
    recorded: Mapping[str, float],
) -> str:
    """Return one figure of each program on each workload, and how many times as much it is as ours."""
    rows = ["| | " + " | ".join(f"{name}, {unit} | ratio" for name in columns) + " |"]
    rows.append("|---" * (1 + 2 * len(columns)) + "|")
    ours = {name: figure(starts.get(OURS.name, ())) for name, starts in columns.items()}
    for program in PROGRAMS:
        if not any(program.name in starts for starts in columns.values()):
            continue  # nobody asked for it
        found = {name: figure(starts.get(program.name, ())) for name, starts in columns.items()}
        rows.append(_row(program.name, found, ours))
    if recorded:
        rows.append(_row(_RECORDED, {name: _thousand(recorded.get(name)) for name in columns}, ours))
    return "\n".join(rows)


def _row(who: str, found: Mapping[str, float | None], ours: Mapping[str, float | None]) -> str:
    cells: list[str] = []
    for name, value in found.items():
        times = ratio(value, ours[name])
        cells += ["did not run" if value is None else f"{value:.1f}", "-" if times is None else f"{times:.2f}"]
    return f"| {who} | " + " | ".join(cells) + " |"


def _thousand(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
