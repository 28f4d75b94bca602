"""The programs that are compared: where each is installed, how it is started, and what a start took."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

ROOT: Final = Path(__file__).parents[3]
TORCH: Final = "torch==2.13.0"
LIMIT_S: Final = 600


@dataclass(frozen=True, slots=True)
class Program:
    """One line of the tables: what is installed, which module of this package is run, how, and on how many processes.

    Without an environment it is no peer but the engine or a bare loop, and runs in ours.
    """

    name: str
    environment: str
    requirements: tuple[str, ...]
    module: str
    launcher: tuple[str, ...] = ()
    processes: int = 1


@dataclass(frozen=True, slots=True)
class Start:
    """What one start took, in seconds: each of its rounds but the first, and the whole of it, imports included."""

    rounds: tuple[float, ...]
    whole: float


Starts: TypeAlias = Mapping[str, Sequence[Start]]
"""The starts of each program, by its name, on one workload."""

_IN_TWO: Final = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")
_PFL: Final = ("pfl==0.6.0", TORCH)
OURS: Final = Program("fedchain, 2 workers", "", (), "ours_rounds", processes=2)
BARE_TWO: Final = Program("bare loop, 2 processes", "", (), "bare_rounds", processes=2)
PFL_TWO: Final = Program("pfl 0.6, 2 workers", "pfl", _PFL, "pfl_rounds", _IN_TWO, processes=2)
FLOWER: Final = Program(
    "Flower 1.41 (Ray)", "flower", ("flwr[simulation]==1.41.0", TORCH), "flower_rounds", processes=2
)
PROGRAMS: Final = (
    OURS,
    Program("fedchain, 1 process", "", (), "ours_rounds"),
    BARE_TWO,
    Program("bare loop, 1 process", "", (), "bare_rounds"),
    PFL_TWO,
    Program("pfl 0.6", "pfl", _PFL, "pfl_rounds"),
    FLOWER,
    Program("FedLab 1.3", "fedlab", ("fedlab==1.3.0", TORCH), "fedlab_rounds"),
    Program("fluke 0.8", "fluke", ("fluke-fl==0.8.1", TORCH), "fluke_rounds"),
)
PEERS: Final = tuple(each for each in PROGRAMS if each.environment)
MISSING: Final = {"blazefl": "it needs Python 3.12, for which PyPI has no build of torch without CUDA"}


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


def run(program: Program, python: str, workload: str, rounds: int, *, is_quick: bool = False) -> Start | None:
    """Return what a start of so many rounds took, None if it fails; what it says goes to standard error."""
    start = f"import importlib; importlib.import_module('experiments.engine.peers.{program.module}').main()"
    command = [python, *program.launcher, *([python] if program.launcher else []), "-W", "ignore", "-c", start]
    asked = [workload, str(rounds), str(program.processes), *(["--quick"] if is_quick else [])]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1",
        "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    begun = time.perf_counter()
    try:
        done = subprocess.run(  # noqa: S603 - our own programs
            [*command, *asked], env=environment, capture_output=True, text=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        print(f"{program.name}, {workload}: longer than {LIMIT_S} s", file=sys.stderr)
        return None
    whole = time.perf_counter() - begun
    answers = [line for line in done.stdout.splitlines() if line.startswith('{"seconds"')]
    if not answers:
        print(f"{program.name}, {workload}: {done.stderr.strip()[-300:]}", file=sys.stderr)
        return None
    seconds: list[float] = json.loads(answers[-1])["seconds"]
    if len(seconds) != rounds:
        print(f"{program.name}, {workload}: expected {rounds} rounds, got {len(seconds)}", file=sys.stderr)
        return None
    median = statistics.median(seconds[1:])
    print(f"{program.name}, {workload}: {median * 1e3:.1f} ms a round, {whole:.1f} s in all", file=sys.stderr)
    return Start(tuple(seconds[1:]), whole)
