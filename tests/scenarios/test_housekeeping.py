"""Housekeeping in a real home: garbage goes, what the record needs stays, through crashes and beside others."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import locked, open_home
from fedchain.adapters.store_files import stored
from fedchain.cli.main import main
from fedchain.config import StoreConfig, StoreNodesConfig
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.releases import Decision
from fedchain.core.retention import HoldReason, Why
from fedchain.ports.ledger import LinkEvent
from fedchain.ports.watcher import Event, RoundEnded
from fedchain.wiring.keeping import collect, hold, holds, release, scrub
from fedchain.wiring.parties import read_ledger
from fedchain.wiring.releases import register, vote
from fedchain.wiring.stores import written_store
from tests.adapters.store_files import file_of
from tests.doubles.kubo_server import kubo_server
from tests.scenarios.genuine import SMALL, Genuine, check, run_quietly
from tests.scenarios.test_models_are_released import say_nothing

REPOSITORY = Path(__file__).parents[2]
NOTHING_ENDS = {
    "format": "fedchain/retention/1", "payload_days": None, "rejected_days": None, "released_days": None,
    "unnamed_days": 0,
}  # fmt: skip
PAYLOADS_END = NOTHING_ENDS | {"payload_days": 0, "released_days": 0}

COLLECT = """
import os, signal, sys
from pathlib import Path
from fedchain.wiring.keeping import collect

steps = 0

def kill(event, arguments):
    global steps
    is_change = event in ("os.rename", "os.remove") or (event == "open" and "removals" in str(arguments[0]))
    if is_change:
        steps += 1
        if steps == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(kill)
collect(Path(sys.argv[1]), is_dry=False)
"""


def names(home: Path) -> set[str]:
    return {each.cid.text for each in stored(home / "store")}


def set_policy(home: Path, policy: Mapping[str, object]) -> None:
    (home / "retention.json").write_text(json.dumps(policy))


def first_manifest(home: Path) -> Cid:
    with read_ledger(open_home(home)) as ledger:
        link = next(each.link for each in ledger.events() if isinstance(each, LinkEvent))
    return next(each.cid for each in stored(home / "store") if each.cid.digest == link.manifest_digest)


def grow_old(home: Path) -> None:
    """As if everything had been put long ago."""
    for path in (home / "store").glob("?/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))


def stray(home: Path, data: bytes = b"an abandoned model" * 100_000) -> str:
    return EmbeddedStore(home / "store").put(data).text


def test_garbage_goes_and_the_record_verifies_as_before(copied: Genuine) -> None:
    home, before = copied.home, names(copied.home)
    lost = stray(home)
    assert collect(home, is_dry=False).removed == (), "what was put in the last days stays"
    grow_old(home)
    assert [each.cid for each in collect(home, is_dry=True).removed] == [lost]
    assert lost in names(home)
    found = collect(home, is_dry=False)
    assert ([(each.cid, each.why) for each in found.removed], found.is_swept) == ([(lost, Why.UNNAMED)], True)
    assert names(home) == before
    assert scrub(home) == ()
    assert check(home, trusted=True).verdict is Verdict.VERIFIED
    (written,) = (home / "removals").iterdir()
    assert lost in written.read_text()
    assert collect(home, is_dry=False).removed == ()


def test_nothing_goes_while_another_process_has_the_home(copied: Genuine) -> None:
    set_policy(copied.home, NOTHING_ENDS)
    lost = stray(copied.home)
    grow_old(copied.home)
    with locked(open_home(copied.home)), pytest.raises(InputError, match="in use"):
        collect(copied.home, is_dry=False)
    assert lost in names(copied.home)


def test_where_a_journal_or_manifest_is_damaged_nothing_goes(copied: Genuine) -> None:
    home = copied.home
    lost = stray(home)
    grow_old(home)
    journal = next((home / "runs").glob("*/journal"))
    whole = journal.read_bytes()
    journal.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    with pytest.raises(IntegrityError, match="damaged"):
        collect(home, is_dry=False)
    journal.write_bytes(whole)
    manifest = file_of(home / "store", first_manifest(home))
    manifest.write_bytes(b"{}")
    with pytest.raises(IntegrityError, match="nothing is removed"):
        collect(home, is_dry=False)
    assert lost in names(home)
    (fault,) = [each for each in scrub(home) if each.is_fault]
    assert (fault.flaw, Path(fault.where).name) == ("damaged", manifest.name)


def test_payloads_end_by_policy_but_not_what_is_held(copied: Genuine) -> None:
    home = copied.home
    grow_old(home)
    set_policy(home, PAYLOADS_END)
    first, second = (run.hex() for run in copied.runs)
    hold(home, first, HoldReason.REGULATOR)
    hold(home, second, HoldReason.AUDIT)
    assert collect(home, is_dry=True).removed == ()
    release(home, second, HoldReason.AUDIT)
    removed = collect(home, is_dry=False).removed
    assert {each.why for each in removed} == {Why.EXPIRED}
    assert retired(check(home, trusted=True)) == (Verdict.ANCHORED, len(removed))
    assert [each for each in scrub(home) if each.is_fault] == [], "what the policy ended is not missing"
    states = {each.run: each.events[-1].is_held for each in holds(home)}
    assert states == {first: True, second: False}


def test_what_is_gone_without_a_note_is_missing_and_not_retired(copied: Genuine) -> None:
    home = copied.home
    grow_old(home)
    set_policy(home, PAYLOADS_END)
    assert collect(home, is_dry=False).removed
    shutil.rmtree(home / "removals")
    lineage = check(home, trusted=True)
    assert lineage.verdict is Verdict.FINDINGS
    assert {each.claim for each in lineage.findings} == {"payload"}


def test_what_ended_goes_from_nodes_too_and_what_nobody_here_names_stays_there(copied: Genuine) -> None:
    home = copied.home
    grow_old(home)
    with kubo_server() as server:
        nodes = StoreNodesConfig((server.address,), (), keep_local=True, quorum=1, timeout_s=5)
        written_store(open_home(home), StoreConfig("kubo", nodes=nodes))
        for each in stored(home / "store"):
            server.store().put(EmbeddedStore(home / "store").get(each.cid))
        others = server.store().put(b"of another home").text
        before = {each.text for each in server.store().cids()}
        set_policy(home, PAYLOADS_END)
        removed = {each.cid for each in collect(home, is_dry=False).removed}
        assert {each.text for each in server.store().cids()} == before - removed
        assert others not in removed
        assert retired(check(home, trusted=True)) == (Verdict.ANCHORED, len(removed))
        server.store().put(EmbeddedStore(copied.home / "store").get(first_manifest(home)))
        assert collect(home, is_dry=False).removed == ()


def retired(lineage: Lineage) -> tuple[Verdict, int]:
    """The verdict, and how many payloads an audit calls retired."""
    return lineage.verdict, sum(each.instances for each in lineage.claims if each.name == "retired payload")


def test_scrub_tells_what_the_record_needs_a_damaged_artifact_for(copied: Genuine) -> None:
    home = copied.home
    assert main(["store", "scrub", "--home", str(home)]) == 0
    lost = stray(home, b"small")
    model = Cid.parse(check(home, trusted=True).rounds[0].model_cid)
    file_of(home / "store", model).write_bytes(b"other bytes")
    found = {each.flaw: each for each in scrub(home)}
    assert found["damaged"].needed_for == ("model of round 1", "model of round 2")
    assert (found["unnamed"].where, found["unnamed"].is_fault) == (lost, False)
    file_of(home / "store", model).unlink()
    assert [each.where for each in scrub(home) if each.flaw == "missing"] == [model.text]
    assert main(["store", "scrub", "--home", str(home)]) == 1


def test_the_verbs_tell_what_they_did(copied: Genuine, capsys: pytest.CaptureFixture[str]) -> None:
    home, run = str(copied.home), copied.runs[0].hex()
    stray(copied.home)
    grow_old(copied.home)
    assert main(["store", "gc", "--home", home, "--json"]) == 0
    assert [each["why"] for each in json.loads(capsys.readouterr().out)["removed"]] == ["unnamed"]
    for _ in range(2):
        assert main(["audit", "hold", run, "--reason", "incident", "--home", home, "--json"]) == 0
        (held,) = json.loads(capsys.readouterr().out)["holds"]
        assert (held["run"], held["held"], len(held["decisions"])) == ("0x" + run, True, 1)
    assert main(["audit", "hold", "nothing", "--reason", "incident", "--home", home]) == 2
    assert main(["audit", "hold", run, "--reason", "because Jane asked", "--home", home]) == 2
    assert main(["audit", "--home", home]) == 0
    assert "incident" in capsys.readouterr().out
    assert main(["store", "quota", "lots", "--home", home]) == 2
    assert main(["store", "quota", "5GB", "--home", home]) == 0
    assert "quota: 5.0 GB" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_in_a_full_store_ends_in_one_line_and_goes_on_when_there_is_room(
    copied: Genuine, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", "experiment=heart", "ledger.chain_id=1337", "rounds=1", "--home", str(copied.home)]
    used = sum(each.size for each in stored(copied.home / "store"))
    assert main(["store", "quota", str(used + 5_000), "--home", str(copied.home)]) == 0
    assert main([*command, "--fresh"]) == 2
    assert "quota is used up" in capsys.readouterr().err
    assert main(["store", "quota", "off", "--home", str(copied.home)]) == 0
    assert main(command) == 0
    assert check(copied.home, trusted=True).verdict is Verdict.VERIFIED


@pytest.mark.slow
def test_a_collection_killed_at_any_step_is_ended_by_the_next(copied: Genuine) -> None:
    home, before = copied.home, names(copied.home)
    for step in count(1):
        garbage = {stray(home, bytes([number]) * 1_500_000) for number in range(2)}
        grow_old(home)
        done = subprocess.run([sys.executable, "-c", COLLECT, str(home), str(step)], cwd=REPOSITORY, check=False)
        assert before <= names(home) <= before | garbage
        assert [each for each in scrub(home) if each.is_fault] == []
        collect(home, is_dry=False)
        assert (names(home), scrub(home)) == (before, ())
        if done.returncode == 0:
            break
        assert done.returncode == -9
    assert step > 6
    assert check(home, trusted=True).verdict is Verdict.VERIFIED


class StoppedError(Exception):
    """Somebody stopped the run."""


def stop_after_the_first(event: Event) -> None:
    if isinstance(event, RoundEnded):
        raise StoppedError


@pytest.mark.slow
def test_an_unfinished_run_goes_on_after_a_collection(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with pytest.raises(StoppedError):
        run_quietly(SMALL, home, stop_after_the_first)
    before = names(home)
    set_policy(home, PAYLOADS_END)
    grow_old(home)
    assert collect(home, is_dry=False).removed == ()
    assert names(home) == before
    run_quietly(SMALL, home)
    assert check(home, trusted=True).verdict is Verdict.VERIFIED


@pytest.mark.slow
def test_what_a_released_version_and_its_votes_rest_on_stays(tmp_path: Path) -> None:
    home, report = tmp_path / "home", tmp_path / "report.txt"
    run = run_quietly(SMALL, home).hex()
    report.write_text("it ranks every patient right")
    register(home, say_nothing, run)
    for reviewer in ("clinical", "quality"):
        vote(home, say_nothing, run, Decision.APPROVE, (reviewer, report))
    before = names(home)
    set_policy(home, PAYLOADS_END)
    grow_old(home)
    assert collect(home, is_dry=False).removed == ()
    assert names(home) == before
