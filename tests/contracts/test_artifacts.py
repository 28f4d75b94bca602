"""The artifacts that the package ships are what the sources compile to."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
ARTIFACTS = ROOT / "fedchain" / "adapters" / "evm" / "artifacts"

NAMES = sorted(path.stem for path in ARTIFACTS.glob("*.json"))

with_compiler = pytest.mark.skipif(
    shutil.which("node") is None or not (CONTRACTS / "node_modules").is_dir(),
    reason="needs Node and `npm ci` in contracts/",
)


def _sources() -> dict[str, str]:
    paths = sorted((CONTRACTS / "src").rglob("*.sol"))
    return {path.relative_to(CONTRACTS).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@pytest.mark.parametrize("name", NAMES)
def test_an_artifact_was_compiled_from_the_sources_as_they_are(name: str) -> None:
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text("utf-8"))
    used = artifact["sources"]
    assert f"src/{name}.sol" in used
    assert {path: digest for path, digest in _sources().items() if path in used} == used


def test_every_source_is_part_of_an_artifact() -> None:
    assert set(NAMES) >= {"FedRegistry", "RoundLedger", "RewardVault"}
    used = [json.loads(path.read_text("utf-8"))["sources"] for path in ARTIFACTS.glob("*.json")]
    assert set().union(*used) == set(_sources())


@pytest.mark.parametrize("name", NAMES)
def test_a_contract_fits_the_size_limit(name: str) -> None:
    artifact = json.loads((ARTIFACTS / f"{name}.json").read_text("utf-8"))
    assert len(bytes.fromhex(artifact["deployedBytecode"].removeprefix("0x"))) <= 24_576


@pytest.mark.slow
@with_compiler
def test_compiling_again_gives_the_same_bytes() -> None:
    done = subprocess.run(
        ["node", "compile.mjs", "--check"], cwd=CONTRACTS, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@with_compiler
def test_a_changed_artifact_fails_the_check_in_one_line(tmp_path: Path) -> None:
    copy = tmp_path / "contracts"
    shutil.copytree(CONTRACTS, copy, ignore=shutil.ignore_patterns("node_modules"))
    (copy / "node_modules").symlink_to(CONTRACTS / "node_modules")
    target = tmp_path / "fedchain" / "adapters" / "evm" / "artifacts"
    shutil.copytree(ARTIFACTS, target)
    text = (target / "RoundLedger.json").read_text("utf-8")
    (target / "RoundLedger.json").write_text(text.replace('"bytecode": "0x60', '"bytecode": "0x61'), "utf-8")
    done = subprocess.run(["node", "compile.mjs", "--check"], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("RoundLedger.json: expected")
    assert done.stderr.count("\n") == 1
