"""The house rules, kept by machine: the import rules bite, artifacts match their sources, floors hold, names are plain.

A rule that nothing can break is no rule, so those that other tools keep (import-linter, the contract compiler) are run
here on a copy of the tree with one thing broken.
"""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ("fedchain", "clients", "server")
FIRST_PARTY = {*SHIPPED, "conf", "experiments", "scripts", "tests"}
CORE_MAY_IMPORT = {"coincurve", "cryptography", "eth_abi", "eth_hash", "fedchain", "numpy", "rfc8785", "zstandard"}
NOT_OURS = {"node_modules", "__pycache__", "build", "dist", "mlruns", "outputs", "multirun"}
ARTIFACTS = Path("fedchain", "adapters", "evm", "artifacts")


def files(*tops: str, suffix: str = "") -> Iterator[Path]:
    """Our own files under the given top folders (all without any), hidden folders but .ci left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and (name == ".ci" or not name.startswith("."))]
        for path in (Path(folder, name) for name in names if name.endswith(suffix)):
            if not tops or any(path.is_relative_to(ROOT / top) for top in tops):
                yield path


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would from a fresh shell: not as a part of the make that may run this test."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def imported(path: Path) -> set[str]:
    """The top-level packages that the module imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


# ---------------------------------------------------------------- import rules


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """The packages and the import rules, to be broken."""
    for name in (*SHIPPED, "experiments"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def lint_imports(tree: Path) -> subprocess.CompletedProcess[str]:
    """What `make imports` runs, on another tree."""
    return run(Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache", cwd=tree)


def test_the_import_rules_hold(copied: Path) -> None:
    result = lint_imports(copied)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("module", "line", "rule"),
    [
        ("fedchain/core/__init__.py", "import web3", "Core knows no framework"),
        ("fedchain/core/__init__.py", "import sqlite3", "Core knows no framework"),
        ("fedchain/core/__init__.py", "import fedchain.ports", "Imports go down only"),
        ("fedchain/ports/__init__.py", "import torch", "Ports and workflow know no framework"),
        ("fedchain/workflow/__init__.py", "import flwr", "Ports and workflow know no framework"),
        ("fedchain/workflow/__init__.py", "import fedchain.adapters", "Imports go down only"),
        ("fedchain/adapters/__init__.py", "import fedchain.workflow", "Imports go down only"),
        ("server/__init__.py", "import fedchain.cli", "Imports go down only"),
        ("clients/__init__.py", "import experiments", "Imports go down only"),
        ("fedchain/helpers.py", "", "Every module of fedchain has a layer"),
    ],
)
def test_one_line_in_the_wrong_place_breaks_the_import_rules(copied: Path, module: str, line: str, rule: str) -> None:
    with (copied / module).open("a") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(copied)
    assert result.returncode == 1, result.stdout
    assert re.search(rf"{rule}.* BROKEN", result.stdout), result.stdout


def test_core_imports_nothing_outside_its_list() -> None:
    allowed = CORE_MAY_IMPORT | sys.stdlib_module_names
    foreign = {path.name: extra for path in files("fedchain/core", suffix=".py") if (extra := imported(path) - allowed)}
    assert foreign == {}


def test_every_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]["hsm"]
    runtime = {canonicalize_name(Requirement(line).name) for line in [*project["dependencies"], *extras]}
    tools = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["dev"]}
    providers = importlib.metadata.packages_distributions()
    for tops, declared in ((SHIPPED, runtime), (("experiments", "scripts", "tests"), runtime | tools)):
        third_party = set[str]().union(*map(imported, files(*tops, suffix=".py"))) - FIRST_PARTY
        undeclared = {
            name
            for name in third_party - sys.stdlib_module_names
            if not declared & {canonicalize_name(provider) for provider in providers.get(name, ())}
        }
        assert undeclared == set(), tops


# ---------------------------------------------------------------- contracts and their artifacts


def check_contracts(tree: Path) -> subprocess.CompletedProcess[str]:
    """What `make contracts` runs, on another tree."""
    return run(ROOT / "scripts" / "with_node.sh", sys.prefix, "node", "contracts/compile.mjs", "--check", cwd=tree)


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    """The contract sources, their compiler and their artifacts."""
    modules = ROOT / "contracts" / "node_modules"
    assert modules.is_dir(), "expected contracts/node_modules, got none: run `make contracts` once"
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts", ignore=shutil.ignore_patterns("node_modules"))
    (tmp_path / "contracts" / "node_modules").symlink_to(modules)
    shutil.copytree(ROOT / ARTIFACTS, tmp_path / ARTIFACTS)
    return tmp_path


@pytest.mark.slow
def test_one_byte_of_an_artifact_fails_the_check(contracts: Path) -> None:
    path = contracts / ARTIFACTS / "RoundLedger.json"
    content = bytearray(path.read_bytes())
    content[content.index(b'"0x') + 10] ^= 1  # a digit of the bytecode
    path.write_bytes(content)
    result = check_contracts(contracts)
    assert result.returncode == 1, result.stdout + result.stderr
    assert path.name in result.stderr


# ---------------------------------------------------------------- floors


def breaches(lock: str, floors: str) -> list[str]:
    """The pins of the lock that lie below a floor."""
    pins = dict(line.split("==") for line in lock.splitlines() if "==" in line)
    wanted = [Requirement(line.partition("#")[0]) for line in floors.splitlines() if not line.startswith("#")]
    return [
        f"{floor.name} {pins[floor.name]} is below {floor.specifier}"
        for floor in wanted
        if floor.name in pins and Version(pins[floor.name]) not in floor.specifier
    ]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_no_pin_lies_below_a_floor(name: str) -> None:
    assert breaches((ROOT / name).read_text(), (ROOT / "requirements.floors").read_text()) == []


def test_a_pin_below_its_floor_is_found() -> None:
    floors = (ROOT / "requirements.floors").read_text()
    assert breaches("starlette==1.3.0\nmlflow==3.11.0\npython-multipart==0.0.25\n", floors) == [
        "python-multipart 0.0.25 is below >=0.0.26",
        "starlette 1.3.0 is below >=1.3.1",
    ]


def test_the_floors_file_says_that_no_advisory_database_was_asked() -> None:
    assert "No advisory database was asked" in (ROOT / "requirements.floors").read_text()


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_is_exact_pins_with_no_index_no_local_version_and_no_path(name: str) -> None:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[0-9a-z.]+", line)]
    assert odd == (["-r requirements.lock"] if name == "requirements-dev.lock" else [])


def test_the_locks_satisfy_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "requirements.lock").read_text() + (ROOT / "requirements-dev.lock").read_text()
    pins = dict(line.split("==") for line in text.splitlines() if "==" in line)
    wanted = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["dev"]])
    assert [str(line) for line in wanted if not line.specifier.contains(pins[line.name], prereleases=True)] == []


# ---------------------------------------------------------------- make


def test_make_alone_prints_every_target_for_people() -> None:
    result = run("make", cwd=ROOT)
    assert result.returncode == 0, result.stderr
    printed = set(re.findall(r"^ +make ([\w-]+) +\S", result.stdout, re.MULTILINE))
    assert {"demo", "test", "test-slow", "check", "fix", "bench", "lock"} <= printed
    described = set(re.findall(r"^([\w-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert printed == described


def test_make_test_runs_every_gate_before_the_tests() -> None:
    planned = run("make", "--dry-run", "--always-make", "test", cwd=ROOT).stdout
    gates = ["ruff format --check", "ruff check", "mypy", "pyright", "lint-imports", "compile.mjs --check"]
    gates += ["pytest -q tests/test_readme.py", '-m "not slow"']
    places = [planned.find(gate) for gate in gates]
    assert -1 not in places
    assert places[-1] == max(places)


# ---------------------------------------------------------------- words


def test_no_file_is_named_after_nothing() -> None:
    empty = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    assert [path for path in files() if path.stem.removeprefix("test_").removeprefix("_") in empty] == []


def test_every_open_task_names_its_issue() -> None:
    assert search(r"\b(TO[D]O|FIX[M]E|X[X]X)\b(?!\(#\d+\))") == []


def test_nothing_speaks_of_the_machine_that_it_was_written_on() -> None:
    assert search(r"/[w]ork/|/tmp/[p]robe|/[r]oot/|/opt/[pw][yh]|\.\./[s]hared\b") == []


def test_nothing_that_we_ship_unpickles() -> None:
    assert search(r"\b(torch\.load|c?loud[p]ickle|[p]ickle|joblib\.load|dill|shelve)\b", *SHIPPED) == []


def search(pattern: str, *tops: str) -> list[str]:
    """Where our text files match, as path:line."""
    found = []
    for path in files(*tops):
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            continue  # not text
        found += [
            f"{path.relative_to(ROOT)}:{n}: {line}" for n, line in enumerate(lines, 1) if re.search(pattern, line)
        ]
    return found
