"""Install peers in environments of their own and print their speed beside ours: `python -m experiments.engine.peers`.

Programs run in turn, a few rounds each, again and again, so that a drifting machine cancels; medians of all rounds. A
peer that cannot be installed or does not run is a line of the table that says so. `--write` puts the table into
docs/simulation-speed.md.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from experiments.engine.workloads import WORKLOADS

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "simulation-speed.md"
MARKS: Final = ("<!-- peers: begin -->", "<!-- peers: end -->")
TORCH: Final = "torch==2.13.0"
LIMIT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Program:
    """One line of the table: what is installed, which module of this package is run, and by which launcher."""

    name: str
    environment: str
    requirements: tuple[str, ...]
    module: str
    launcher: tuple[str, ...] = ()


_IN_TWO: Final = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
PROGRAMS: Final = (
    Program("fedchain, 2 workers", "", (), "ours_rounds"),
    Program("pfl 0.6, 2 workers", "pfl", ("pfl==0.6.0", TORCH), "pfl_rounds", _IN_TWO),
    Program("pfl 0.6", "pfl", ("pfl==0.6.0", TORCH), "pfl_rounds"),
    Program("Flower 1.41 (Ray)", "flower", ("flwr[simulation]==1.41.0", TORCH), "flower_rounds"),
    Program("FedLab 1.3", "fedlab", ("fedlab==1.3.0", TORCH), "fedlab_rounds"),
    Program("fluke 0.8", "fluke", ("fluke-fl==0.8.1", TORCH), "fluke_rounds"),
)
MISSING: Final = {"blazefl": "it needs Python 3.12, for which PyPI has no build of torch without CUDA"}


def main() -> int:
    """Install, run, print."""
    parser = argparse.ArgumentParser(prog="python -m experiments.engine.peers", description=__doc__)
    parser.add_argument("--cache", type=Path, default=ROOT / ".cache" / "peers", help="where the environments are")
    parser.add_argument("--only", action="append", choices=[each.name for each in WORKLOADS], help="these workloads")
    parser.add_argument("--turns", type=int, default=3, help="how often each program is started (default 3)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each start (default 5)")
    parser.add_argument("--write", metavar="CONDITIONS", help="write the table, with the conditions, into the docs")
    arguments = parser.parse_args()
    pythons = {each.name: installed(each, arguments.cache) for each in PROGRAMS}
    columns = {}
    for name in arguments.only or [each.name for each in WORKLOADS]:
        columns[name] = measured(name, pythons, arguments.turns, arguments.rounds)
    text = table(columns)
    print(text)
    if arguments.write:
        write(text, arguments.write)
    return 0


def installed(program: Program, cache: Path) -> str | None:
    """Return the Python of a program's environment, made at first use; None if its packages cannot be installed."""
    if not program.environment:
        return sys.executable
    folder = cache / program.environment
    python, mark = folder / "bin" / "python", folder / ".installed"
    if mark.exists() and mark.read_text() == "\n".join(program.requirements):
        return str(python)
    print(f"installing {program.environment} in {folder}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)  # noqa: S603 - fixed programs
    install = [str(python), "-m", "pip", "install", "--quiet", *program.requirements]
    done = subprocess.run(install, check=False)  # noqa: S603 - fixed requirements
    if done.returncode:
        return None
    mark.write_text("\n".join(program.requirements))
    return str(python)


def measured(workload: str, pythons: dict[str, str | None], turns: int, rounds: int) -> dict[str, list[float]]:
    """Return each program's seconds a round; none where it does not run."""
    seconds: dict[str, list[float]] = {program.name: [] for program in PROGRAMS}
    for _ in range(turns):
        for program in PROGRAMS:
            python = pythons[program.name]
            if python is not None:
                seconds[program.name] += run(program, python, workload, rounds)
    return seconds


def run(program: Program, python: str, workload: str, rounds: int) -> list[float]:
    """Return the seconds of one start's rounds; what it says goes to standard error."""
    start = f"import importlib; importlib.import_module('experiments.engine.peers.{program.module}').main()"
    command = [python, *program.launcher, *([python] if program.launcher else []), "-W", "ignore", "-c", start]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    try:
        done = subprocess.run(  # noqa: S603 - our own programs
            [*command, workload, str(rounds)], env=environment, capture_output=True, text=True, check=False,
            timeout=LIMIT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"{program.name}, {workload}: longer than {LIMIT_S} s", file=sys.stderr)
        return []
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if not answers:
        print(f"{program.name}, {workload}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return []
    found: list[float] = json.loads(answers[-1])["seconds"]
    print(f"{program.name}, {workload}: {[round(each, 4) for each in found]}", file=sys.stderr)
    return found


def table(columns: dict[str, dict[str, list[float]]]) -> str:
    """Return the table in Markdown: milliseconds a round, and how many times as long as ours."""
    names = list(columns)
    lines = ["| | " + " | ".join(f"{name}, ms | ratio" for name in names) + " |", "|---" * (1 + 2 * len(names)) + "|"]
    for program in PROGRAMS:
        cells = [cell for name in names for cell in _cells(columns[name], program.name)]
        lines.append(f"| {program.name} | " + " | ".join(cells) + " |")
    lines += ["", *(f"Not in the table: {name}, {why}." for name, why in MISSING.items())]
    return "\n".join(lines)


def _cells(seconds: dict[str, list[float]], name: str) -> Sequence[str]:
    if not seconds[name]:
        return ("did not run", "-")
    median = statistics.median(seconds[name])
    ours = seconds[PROGRAMS[0].name]
    return (f"{median * 1e3:.1f}", f"{median / statistics.median(ours):.1f}" if ours else "-")


def write(text: str, conditions: str) -> None:
    """Put the table between the marks of the page, with today's date."""
    page = PAGE.read_text()
    before, rest = page.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    PAGE.write_text(f"{before}{MARKS[0]}\n\nMeasured on {today}: {conditions}.\n\n{text}\n\n{MARKS[1]}{after}")


if __name__ == "__main__":
    sys.exit(main())
