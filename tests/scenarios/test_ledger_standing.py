"""`fedchain ledger` on real homes: how a chain and a log stand, and the proof of a run's head."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedchain.adapters.home import Home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import LedgerConfig
from fedchain.core.record import head_slot
from tests.scenarios.genuine import CHAIN_ID, SMALL, Genuine, run_quietly


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = main(["ledger", *arguments, "--json"])
    captured = capsys.readouterr()
    assert code in (Exit.DONE, Exit.UNPINNED), captured.err
    return code, json.loads(captured.out)


def contents(home: Path) -> dict[Path, bytes]:
    """Every file but what a reader of SQLite locks through: its shared memory, and a write-ahead log without a byte."""
    files = [path for path in home.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    found = {path: path.read_bytes() for path in files}
    return {path: content for path, content in found.items() if content or not path.name.endswith("-wal")}


def test_a_chain_shows_who_seals_and_where_each_run_ends(genuine: Genuine, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = told(capsys, "status", "--home", str(genuine.home))
    assert code == Exit.DONE
    assert (found["kind"], found["chain_id"], found["fence"]) == ("embedded", CHAIN_ID, 1)
    assert (found["paused_until"], found["tree_head"]) == (0, None)
    assert [each["run"] for each in found["runs"]] == ["0x" + run.hex() for run in genuine.runs]
    for each in found["runs"]:
        slot = head_slot(each["round"], bytes.fromhex(each["round_hash"][2:]), closed=each["closed"])
        assert each["closed"]
        assert each["slot"] == "0x" + slot.hex()
    assert main(["ledger", "--home", str(genuine.home)]) == Exit.DONE
    assert found["rounds_contract"] in capsys.readouterr().out


def test_a_head_is_proved_and_exit_zero_needs_the_hash_of_the_block(
    genuine: Genuine, capsys: pytest.CaptureFixture[str]
) -> None:
    run, home = genuine.runs[0].hex(), str(genuine.home)
    _, status = told(capsys, "status", "--home", home)
    code, found = told(capsys, "prove", run[:8], "--home", home)
    assert (code, found["pinned"]) == (Exit.UNPINNED, False)
    assert found["slot"] == status["runs"][0]["slot"]
    code, pinned = told(capsys, "prove", run, "--block", found["block_hash"], "--home", home)
    assert (code, pinned["pinned"], pinned["slot"]) == (Exit.DONE, True, found["slot"])
    assert main(["ledger", "prove", run, "--block", "ab" * 32, "--home", home]) == Exit.FINDINGS
    assert main(["ledger", "prove", run, "--block", "ab", "--home", home]) == Exit.INPUT
    capsys.readouterr()
    assert main(["ledger", "prove", run, "--home", home]) == Exit.UNPINNED
    assert f"slot of run 0x{run}: {found['slot']}" in capsys.readouterr().out


def test_a_run_that_the_chain_does_not_have_is_proved_to_be_absent(
    genuine: Genuine, capsys: pytest.CaptureFixture[str]
) -> None:
    _, found = told(capsys, "prove", "77" * 32, "--home", str(genuine.home))
    assert found["slot"] == "0x" + "00" * 32


def test_a_log_shows_its_tree_and_proves_no_block(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    run = run_quietly(replace(SMALL, rounds=1, ledger=LedgerConfig("log", 0)), home)
    capsys.readouterr()
    code, found = told(capsys, "status", "--home", str(home))
    assert (code, found["kind"], found["chain_id"], found["fence"]) == (Exit.DONE, "log", 0, None)
    assert found["tree_head"]["size"] > len(found["runs"]) == 1
    assert main(["ledger", "prove", run.hex(), "--home", str(home)]) == Exit.INPUT
    assert "a log has no blocks" in capsys.readouterr().err
    assert main(["ledger", "status", "--home", str(home)]) == Exit.DONE


def test_reading_a_ledger_changes_nothing_and_a_missing_one_is_wrong_input(
    genuine: Genuine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "copy"
    shutil.copytree(genuine.home, home)
    before = contents(home)
    assert main(["ledger", "status", "--home", str(home)]) == Exit.DONE
    assert contents(home) == before
    Home(home).ledger.unlink()
    assert main(["ledger", "status", "--home", str(home)]) == Exit.INPUT
    assert "this home has no ledger yet" in capsys.readouterr().err


def test_an_embedded_chain_is_exported_once(genuine: Genuine, tmp_path: Path) -> None:
    file = tmp_path / "chain.jsonl"
    arguments = ["ledger", "export", str(file), "--home", str(genuine.home)]
    assert main(arguments) == Exit.DONE
    written = file.read_text()
    assert written.count('"block"') > 5
    assert main(arguments) == Exit.INPUT
    assert file.read_text() == written


def test_a_log_has_no_chain_to_export(tmp_path: Path) -> None:
    run_quietly(replace(SMALL, ledger=LedgerConfig("log", 0)), tmp_path / "home")
    assert main(["ledger", "export", str(tmp_path / "x"), "--home", str(tmp_path / "home")]) == Exit.INPUT
    assert not (tmp_path / "x").exists()
