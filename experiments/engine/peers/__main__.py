"""Install peers in environments of their own and print their speed beside ours: `python -m experiments.engine.peers`.

Programs are started in turn, again and again, so that a drifting machine cancels; medians of all rounds but each
start's first, and of the seconds from each start to its end. All run the same number of rounds of a workload. A peer
that cannot be installed or does not run is a line of the tables that says so. Then whole recorded runs are measured
(`experiments.engine.recorded`), and the goals are checked; `--strict` exits with 1 unless all are met. `--write` puts
the tables into docs/simulation-speed.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from experiments.engine.peers.goals import Goal, Verdict, goals
from experiments.engine.peers.page import text_of, write
from experiments.engine.peers.programs import PROGRAMS, ROOT, Start, Starts, installed, run
from experiments.engine.recorded_line import Line
from experiments.engine.workloads import WORKLOADS

ROUNDS: Final = {"W1a": 20, "W1b": 10, "W2": 3}
"""Rounds of a start: so many that arithmetic and start both count."""


def main() -> int:
    """Install, run, print."""
    arguments = asked()
    names = arguments.only or [each.name for each in WORKLOADS]
    columns = measured(arguments, names)
    recorded = None if arguments.no_recorded else recorded_lines(names, is_quick=arguments.quick)
    reached = goals(columns, recorded)
    text = text_of(columns, recorded, reached)
    print(as_json(columns, recorded, reached) if arguments.json else text)
    if arguments.write:
        write(text, arguments.write)
    return 1 if arguments.strict and any(goal.verdict != Verdict.MET for goal in reached) else 0


def asked() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.peers", description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers", help="where the environments are")
    parser.add_argument("--only", action="append", choices=[each.name for each in WORKLOADS], help="these workloads")
    parser.add_argument(
        "--program", action="append", choices=[each.name for each in PROGRAMS], help="these programs (default all)"
    )
    parser.add_argument("--turns", type=int, default=2, help="how often each program is started (default 2)")
    parser.add_argument("--rounds", type=int, help=f"rounds of each start, at least 2 (default {ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="fewer clients; the figures mean little")
    parser.add_argument("--no-recorded", action="store_true", help="leave the recorded runs out")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of the tables")
    parser.add_argument("--strict", action="store_true", help="exit with 1 unless every goal is met")
    parser.add_argument("--write", metavar="CONDITIONS", help="write the tables, with the conditions, into the docs")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 2:
        parser.error("--rounds: expected at least 2, since the first round of a start is not counted")
    return arguments


def measured(arguments: argparse.Namespace, names: Sequence[str]) -> dict[str, Starts]:
    """Return each program's starts on each workload; none where it does not run."""
    programs = [each for each in PROGRAMS if arguments.program is None or each.name in arguments.program]
    pythons = {each.name: installed(each, arguments.cache) for each in programs}
    columns: dict[str, Starts] = {}
    for name in names:
        starts = {program.name: list[Start]() for program in programs}
        for _ in range(arguments.turns):
            for program in programs:
                python = pythons[program.name]
                rounds = arguments.rounds or ROUNDS[name]
                start = python and run(program, python, name, rounds, is_quick=arguments.quick)
                if start:
                    starts[program.name].append(start)
        columns[name] = starts
    return columns


def recorded_lines(names: Sequence[str], *, is_quick: bool) -> list[Line]:
    """Return what recorded runs took, each workload in a process of its own, by homes and as one population.

    A run that fails has no line.
    """
    found: list[Line] = []
    for name, manner in itertools.product(names, ([], ["--population"])):
        command = [sys.executable, "-W", "ignore", "-m", "experiments.engine.recorded", "--json", name, *manner]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
        done = subprocess.run(  # noqa: S603 - our own program
            [*command, *(["--quick"] if is_quick else [])],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith('[{"name"')]
        if done.returncode or not answers:
            print(f"recorded, {name}: exit code {done.returncode}", file=sys.stderr)
            continue
        found += [Line(**each) for each in json.loads(answers[-1])]
        print(f"recorded, {found[-1].name}: {found[-1].round:.3f} s a round", file=sys.stderr)
    return found


def as_json(columns: Mapping[str, Starts], recorded: Sequence[Line] | None, reached: Sequence[Goal]) -> str:
    """Return all that was measured as one document."""
    document = {
        "starts": {
            name: {who: [asdict(start) for start in starts] for who, starts in programs.items()}
            for name, programs in columns.items()
        },
        "recorded": [asdict(line) for line in recorded or ()],
        "goals": [{**asdict(goal), "verdict": goal.verdict} for goal in reached],
    }
    return json.dumps(document, indent=1)


if __name__ == "__main__":
    sys.exit(main())
