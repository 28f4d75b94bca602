"""`fedchain challenge` in a home on the embedded chain: an honest one is never harmed, whoever tells two stories is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import open_home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.cli.main import main
from fedchain.config import LedgerConfig
from fedchain.core import document
from fedchain.core.eip712 import signing_digest
from fedchain.core.messages import RoundReceipt
from fedchain.core.trust import SignedReceipt, TrustFile
from fedchain.wiring.parties import read_ledger
from fedchain.wiring.record import read_trust
from tests.scenarios.genuine import SMALL, run_quietly

pytestmark = pytest.mark.slow


def two_faced(home: Path, site: str) -> TrustFile:
    """A trust file in which a site's device signed another hash of the last pinned round."""
    opened = open_home(home)
    trust, key = read_trust(opened.trust), read_signer(key_path(opened.keys, "device", site))
    pin = trust.pins[-1]
    with read_ledger(opened) as ledger:
        rounds = ledger.identity().rounds
    receipt = RoundReceipt(trust.federation, pin.run, pin.round, b"\x99" * 32)
    signed = SignedReceipt(key.address, key.sign(signing_digest(rounds, receipt)))
    return replace(trust, pins=(replace(pin, round_hash=b"\x99" * 32, receipts=(signed,)),))


def test_an_honest_home_has_nothing_to_show_and_a_two_faced_key_is_exposed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    run = run_quietly(SMALL, home).hex()
    where = ["--home", str(home)]
    trust = str(open_home(home).trust)
    assert main(["challenge", *where]) == 0
    assert "Nothing was challenged" in capsys.readouterr().out
    assert main(["challenge", "overspend", *where]) == 0
    assert "Nothing to freeze" in capsys.readouterr().out
    assert (home / "chain" / "challenges.json").exists(), "the contracts are on the chain now"
    assert main(["challenge", "equivocation", trust, trust, *where]) == 0
    assert "Nothing to expose" in capsys.readouterr().out
    assert main(["challenge", "omission", "--site", "cleveland", "--run", run, "--round", "1", *where]) == 2
    assert "the promise can still be kept" in capsys.readouterr().err
    assert main(["challenge", "omission", "--site", "nowhere", "--run", run, "--round", "1", *where]) == 2
    assert main(["challenge", "omission", "--site", "cleveland", "--run", run, "--round", "9", *where]) == 2
    assert main(["challenge", "answer", *where]) == 0
    assert main(["challenge", "conclude", *where]) == 0

    other = tmp_path / "other.json"
    other.write_bytes(document.to_bytes(two_faced(home, "cleveland")))
    capsys.readouterr()
    assert main(["challenge", "equivocation", trust, str(other), *where]) == 0
    told = capsys.readouterr()
    assert "about to sign and send, as anyone: expose 0x" in told.err
    assert "signed two hashes of round" in told.out
    assert main(["challenge", "equivocation", trust, str(other), *where]) == 0
    assert "Nothing to expose" in capsys.readouterr().out, "it is exposed already"
    assert main(["challenge", "status", "--json", *where]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [len(shown[key]) for key in ("omissions", "exposures", "freezes")] == [0, 1, 0]
    assert main(["verify", "--trust", trust, *where]) == 0


def test_with_a_log_a_challenge_says_that_it_needs_a_chain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_quietly(replace(SMALL, ledger=LedgerConfig("log", 0)), tmp_path)
    for verb in ("status", "overspend", "answer"):
        assert main(["challenge", verb, "--home", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "a challenge needs a chain" in line
