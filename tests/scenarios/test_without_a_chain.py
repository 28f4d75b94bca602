"""A whole experiment whose record is a signed log: what it can promise, and what it cannot."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import Home, open_home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import LedgerConfig
from fedchain.core.errors import InputError
from fedchain.core.lineage import Verdict
from fedchain.wiring.parties import read_ledger
from fedchain.wiring.runs import runs
from tests.scenarios.genuine import SMALL, Genuine, check, run_quietly, withdraw_consent

pytestmark = pytest.mark.slow

IN_A_LOG = replace(SMALL, ledger=LedgerConfig("log", 0))


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Genuine:
    """Two runs in a log, a withdrawn consent between them."""
    home = tmp_path_factory.mktemp("logged") / "home"
    first = run_quietly(IN_A_LOG, home)
    withdraw_consent(home, "va", IN_A_LOG.ledger)
    return Genuine(home, (first, run_quietly(replace(IN_A_LOG, seed=2), home)))


@pytest.fixture
def home(logged: Genuine, tmp_path: Path) -> Path:
    """A copy of the two runs for one test."""
    return Path(shutil.copytree(logged.home, tmp_path / "copy"))


def test_a_log_verifies_as_a_chain_does_with_a_pinned_head_and_without(
    logged: Genuine, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--home", str(logged.home), "--json"]
    assert main(["verify", *where]) == Exit.UNPINNED
    capsys.readouterr()
    assert main(["verify", *where, "--trust", str(Home(logged.home).trust)]) == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert (told["verified"], told["findings"]) == (True, [])
    heads = [arg for pin in logged.trust.pins for arg in ("--head", pin.round_hash.hex())]
    assert main(["verify", *where, *heads]) == Exit.DONE
    assert main(["lineage", *where]) == Exit.UNPINNED
    assert [row.state for row in runs(logged.home)] == ["finished", "finished"]


def test_there_is_no_chain_and_the_log_s_key_stands_for_both_contracts(logged: Genuine) -> None:
    home = open_home(logged.home)
    key = read_signer(key_path(home.keys, "log", "simulated")).address
    with read_ledger(home) as ledger:
        identity = ledger.identity()
    assert (identity.chain_id, identity.registry_contract, identity.rounds_contract) == (0, key, key)
    assert not home.chain.exists()


@pytest.mark.parametrize("share", range(12))
def test_a_flipped_byte_of_the_log_ends_every_reading(
    share: int, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, draw = Home(home).log, random.Random(share)
    data = bytearray(log.read_bytes())
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    log.write_bytes(data)
    assert main(["verify", "--home", str(home)]) == Exit.FINDINGS
    assert str(log) in capsys.readouterr().err


def test_a_log_cut_at_its_end_is_found_by_the_pinned_head_only(home: Path) -> None:
    log = Home(home).log
    log.write_bytes(log.read_bytes()[:-1])
    assert check(home, trusted=False).verdict is Verdict.SELF_CONSISTENT
    assert check(home, trusted=True).verdict is Verdict.FINDINGS


def test_a_home_keeps_its_kind_of_ledger(home: Path) -> None:
    with pytest.raises(InputError, match="ledger of another kind: expected ledger=log, got ledger=embedded"):
        run_quietly(SMALL, home)
    assert check(home, trusted=True).verdict is Verdict.VERIFIED


def test_a_home_with_a_chain_refuses_a_log(copied: Genuine) -> None:
    with pytest.raises(InputError, match="ledger of another kind: expected ledger=embedded, got ledger=log"):
        run_quietly(IN_A_LOG, copied.home)
    assert check(copied.home, trusted=True).verdict is Verdict.VERIFIED


def test_a_log_under_another_key_is_not_the_one_that_the_home_names(home: Path, tmp_path: Path) -> None:
    run_quietly(replace(IN_A_LOG, rounds=1), tmp_path / "other")
    shutil.copy(Home(tmp_path / "other").log, Home(home).log)
    assert main(["verify", "--home", str(home)]) == Exit.FINDINGS


@pytest.mark.parametrize("overrides", [["ledger=log", "ledger.chain_id=5"], ["ledger.chain_id=0"]])
def test_only_a_log_has_chain_id_zero(overrides: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", *overrides, "--home", str(tmp_path / "home")]) == Exit.INPUT
    assert "ledger.chain_id" in capsys.readouterr().err
