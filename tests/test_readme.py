"""The README's commands run, in its order, in a home of their own; its make targets exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fedchain.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
MAKE = [line for line in COMMANDS if line.split()[0] == "make"]
FEDCHAIN = [line for line in COMMANDS if line.split()[0] == "fedchain"]
EXPECTED_EXIT = {"fedchain lineage": 3, "fedchain rewards": 3}
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


def test_its_fedchain_commands_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one as a process of its own, as a newcomer runs it; the others here, where all is imported already."""
    monkeypatch.chdir(tmp_path)
    first, *others = FEDCHAIN
    command = [sys.executable, "-m", "fedchain.cli.main", *shlex.split(first)[1:]]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{first}\n{done.stdout}\n{done.stderr}"
    for line in others:
        assert main(shlex.split(line)[1:]) == EXPECTED_EXIT.get(line, 0), line


@pytest.mark.parametrize("path", re.findall(r"`((?:docs|fedchain)/[\w/.-]+)`", README))
def test_the_files_it_names_exist(path: str) -> None:
    assert (ROOT / path).exists()
