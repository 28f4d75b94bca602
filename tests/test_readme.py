"""The README's commands run, in its order, in a home of their own; its make targets exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
MAKE = [line for line in COMMANDS if line.split()[0] == "make"]
FEDCHAIN = [line for line in COMMANDS if line.split()[0] == "fedchain"]
EXPECTED_EXIT = {"fedchain lineage": 3}
"""What a command ends with where it is not 0: without a pinned head a lineage is self-consistent only."""


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert [line for line in COMMANDS if line.split()[0] not in ("make", "fedchain", "mlflow")] == []
    assert len(MAKE) >= 3
    assert len(FEDCHAIN) >= 4


@pytest.mark.parametrize("line", MAKE)
def test_its_make_targets_exist(line: str) -> None:
    # MAKEFLAGS of an outer make would hand its jobserver down.
    clean = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    done = subprocess.run(
        [*shlex.split(line), "--dry-run"], cwd=ROOT, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_its_fedchain_commands_run_one_after_the_other(tmp_path: Path) -> None:
    fedchain = [sys.executable, "-m", "fedchain.cli.main"]
    for line in FEDCHAIN:
        done = subprocess.run(
            [*fedchain, *shlex.split(line)[1:]],
            cwd=tmp_path,
            env=dict(os.environ, PYTHONPATH=str(ROOT)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == EXPECTED_EXIT.get(line, 0), f"{line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("path", re.findall(r"`((?:docs|fedchain)/[\w/.-]+)`", README))
def test_the_files_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()
