"""A whole home: a model is registered, approved by two reviewers, tainted by a withdrawal, and disposed of."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.model_files import digest_of
from fedchain.cli.main import main
from fedchain.config import LedgerConfig
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import ClaimLevel, Verdict
from fedchain.core.releases import Decision, VersionState
from fedchain.ports.watcher import Event, RoundEnded
from fedchain.wiring.export import export
from fedchain.wiring.release_status import status
from fedchain.wiring.releases import bring, cancel, dismiss, dispose, name_reviewer, register, roll_back, vote
from fedchain.workflow.signing import Signing
from fedchain.workflow.summary import ModelSummary
from tests.scenarios.genuine import SMALL, check, run_quietly, withdraw_consent

pytestmark = pytest.mark.slow


def say_nothing(_: Signing) -> None:
    """Nobody listens."""


class StoppedError(Exception):
    """Somebody stopped the run."""


def stop_after_the_first(event: Event) -> None:
    if isinstance(event, RoundEnded) and event.round == 1:
        raise StoppedError


def only(home: Path) -> ModelSummary:
    (found,) = status(home, "")
    return found


def approve(home: Path, model: str, reviewer: str) -> str:
    return vote(home, say_nothing, model, Decision.APPROVE, (reviewer, None)).missing


def test_a_model_is_released_by_every_required_reviewer_and_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_quietly(SMALL, tmp_path).hex()
    assert status(tmp_path, "") == ()
    with pytest.raises(InputError, match="no version"):
        approve(tmp_path, run, "clinical")
    said: list[str] = []
    done = register(tmp_path, lambda signing: said.append(signing.sentence), run)
    assert [each.signing.sentence for each in done] == said
    assert [each.partition(" ")[0] for each in said] == ["name", "name", "submit", "move", "move"]
    assert register(tmp_path, say_nothing, run) == ()
    assert (only(tmp_path).state, only(tmp_path).is_released) == ("in review", False)
    with pytest.raises(InputError, match="--as"):
        approve(tmp_path, run, "mallory")

    assert "missing: quality" in approve(tmp_path, run, "clinical")
    assert "missing: quality" in only(tmp_path).missing
    assert "missing: quality" in approve(tmp_path, run, "clinical"), "one reviewer's votes count once"
    assert approve(tmp_path, run, "quality") == ""
    assert (only(tmp_path).state, only(tmp_path).is_released) == ("approved", True)
    assert vote(tmp_path, say_nothing, run, Decision.APPROVE, ("clinical", None)).done == ()

    report = tmp_path.parent / "incident.txt"
    report.write_text("it ranks no patient right")
    assert vote(tmp_path, say_nothing, run, Decision.SUSPEND, ("quality", report)).missing == ""
    assert (only(tmp_path).state, only(tmp_path).is_released) == ("suspended", False)
    lineage = check(tmp_path, trusted=True)
    assert (lineage.findings, lineage.verdict) == ((), Verdict.VERIFIED)
    (release,) = lineage.releases
    assert (release.state, [each.decision for each in release.rulings]) == ("suspended", ["approve", "suspend"])
    assert [len(each.votes) for each in release.rulings] == [2, 1]
    claims = {each.name: (each.level, each.instances) for each in lineage.claims}
    assert claims["approval"] == (ClaimLevel.SIGNED, 3)
    capsys.readouterr()
    assert main(["lineage", "--home", str(tmp_path), "--json"]) == 3
    (shown,) = json.loads(capsys.readouterr().out)["releases"]
    assert [each["level"] for each in shown["decisions"]] == ["signed", "signed"]
    assert {vote["role"] for vote in shown["decisions"][0]["votes"]} == {"clinical", "quality"}
    assert shown["decisions"][1]["votes"][0]["evidence"] is not None
    assert all(vote["sentence"] for each in shown["decisions"] for vote in each["votes"])


def test_withdrawing_a_dataset_mid_run_taints_its_descendants_and_blocks_approvals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StoppedError):
        run_quietly(SMALL, tmp_path, stop_after_the_first)
    withdraw_consent(tmp_path, "cleveland")
    run = run_quietly(SMALL, tmp_path).hex()
    lineage = check(tmp_path, trusted=True)
    assert (lineage.verdict, [each.kind for each in lineage.rounds]) == (
        Verdict.VERIFIED,
        ["sealed", "sealed", "closed"],
    )
    (dataset,) = {taint.dataset for each in lineage.rounds for taint in each.taints}
    assert all(each.taints for each in lineage.rounds), "round 1 holds its update, the others descend from it"
    trained = [{part.dataset for part in each.contributions} for each in lineage.rounds[:2]]
    assert [dataset in each for each in trained] == [True, False]
    assert main(["lineage", "--home", str(tmp_path)]) == 3
    assert "Withdrawn datasets" in capsys.readouterr().out

    register(tmp_path, say_nothing, run)
    with pytest.raises(PolicyError, match="tainted"):
        approve(tmp_path, run, "clinical")
    assert main(["model", "approve", run, "--as", "clinical", "--home", str(tmp_path)]) == 4
    assert "consent was withdrawn" in capsys.readouterr().err
    with pytest.raises(InputError, match="--dataset"):
        dispose(tmp_path, say_nothing, run, "00" * 32, ("clinical", None))
    assert "missing: quality" in dispose(tmp_path, say_nothing, run, dataset, ("clinical", None)).missing
    assert only(tmp_path).state == "tainted"
    with pytest.raises(PolicyError, match="tainted"):
        approve(tmp_path, run, "clinical")
    assert dispose(tmp_path, say_nothing, run, dataset, ("quality", None)).missing == ""
    assert (only(tmp_path).state, only(tmp_path).open_taints) == ("candidate", ())
    register(tmp_path, say_nothing, run)
    approve(tmp_path, run, "clinical")
    assert approve(tmp_path, run, "quality") == ""
    assert only(tmp_path).is_released
    assert main(["model", "status", run, "--home", str(tmp_path), "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)["versions"]
    assert shown["taints"][0]["dataset"] == "0x" + dataset


def test_a_version_is_deployed_superseded_rolled_back_to_and_revoked(tmp_path: Path) -> None:
    run = run_quietly(SMALL, tmp_path).hex()
    register(tmp_path, say_nothing, run)
    with pytest.raises(PolicyError, match="expected approved"):
        bring(tmp_path, say_nothing, run, VersionState.DEPLOYED)
    approve(tmp_path, run, "clinical")
    approve(tmp_path, run, "quality")
    for state in (VersionState.DEPLOYED, VersionState.SUPERSEDED):
        said: list[str] = []
        done = bring(tmp_path, lambda signing, said=said: said.append(signing.sentence), run, state)  # type: ignore[misc]
        assert [each.signing.sentence for each in done] == said
        assert len(said) == 1
        assert bring(tmp_path, say_nothing, run, state) == (), "it is done already"
        assert only(tmp_path).state == state.words
    assert not only(tmp_path).is_released

    assert [each.signing.sentence.partition(" ")[0] for each in roll_back(tmp_path, say_nothing, run)] == [
        "submit", "move", "move",
    ]  # fmt: skip
    assert roll_back(tmp_path, say_nothing, run) == ()
    assert register(tmp_path, say_nothing, run) == ()
    old, new = status(tmp_path, "")
    assert (old.state, new.state, new.parents, new.model) == ("superseded", "in review", (old.version,), old.model)
    approve(tmp_path, run, "clinical")
    approve(tmp_path, run, "quality")
    assert status(tmp_path, run)[0].is_released
    assert "missing: quality" in vote(tmp_path, say_nothing, run, Decision.REVOKE, ("clinical", None)).missing
    assert len(bring(tmp_path, say_nothing, run, VersionState.REVOKED)) == 1
    assert bring(tmp_path, say_nothing, run, VersionState.REVOKED) == ()
    with pytest.raises(PolicyError, match="in review or suspended"):
        approve(tmp_path, run, "clinical")


def test_votes_are_taken_back_and_a_dismissed_reviewer_is_replaced(tmp_path: Path) -> None:
    run = run_quietly(SMALL, tmp_path).hex()
    with pytest.raises(InputError, match="no registry of models"):
        cancel(tmp_path, say_nothing, "clinical")
    register(tmp_path, say_nothing, run)
    assert cancel(tmp_path, say_nothing, "clinical") == (), "no vote waits"
    approve(tmp_path, run, "clinical")
    assert len(cancel(tmp_path, say_nothing, "clinical")) == 1
    assert cancel(tmp_path, say_nothing, "clinical") == ()
    assert "missing: clinical" in approve(tmp_path, run, "quality"), "the cancelled vote counts no more"
    assert len(dismiss(tmp_path, say_nothing, "quality")) == 1
    assert dismiss(tmp_path, say_nothing, "quality") == ()
    assert "missing: quality" in approve(tmp_path, run, "clinical"), "nor does the dismissed reviewer's"
    with pytest.raises(PolicyError, match="no reviewer now"):
        approve(tmp_path, run, "quality")
    assert main(["model", "name", "quinn", "--role", "dentist", "--site", "long-beach", "--home", str(tmp_path)]) == 2
    site = sorted(each.name for each in (tmp_path / "sites").iterdir())[2]
    assert len(name_reviewer(tmp_path, say_nothing, "quinn", "quality", site)) == 1
    assert name_reviewer(tmp_path, say_nothing, "quinn", "quality", site) == ()
    assert approve(tmp_path, run, "quinn") == ""
    assert only(tmp_path).is_released


def test_with_a_log_every_verb_says_in_one_line_that_releases_need_a_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = run_quietly(replace(SMALL, ledger=LedgerConfig("log", 0, None)), tmp_path).hex()
    for command in (
        ["status"],
        ["register", run],
        ["approve", run, "--as", "clinical"],
        ["cancel", "--as", "clinical"],
    ):
        assert main(["model", *command, "--home", str(tmp_path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "releasing models needs a chain" in line


def test_a_version_of_a_run_that_began_with_a_file_descends_from_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "home"
    parent = run_quietly(SMALL, home).hex()
    export(home, parent, tmp_path / "start.safetensors", best=False)
    initial = replace(
        SMALL.model, initial="start.safetensors", initial_sha256=digest_of(tmp_path / "start.safetensors")
    )
    child = run_quietly(replace(SMALL, rounds=1, model=initial), home).hex()
    register(home, say_nothing, child)
    lineage = check(home, trusted=True)
    (begun,) = {each.base_model for each in lineage.rounds if (each.run, each.round) == (child, 1)}
    assert begun in {each.model_digest for each in lineage.rounds if each.run == parent}
    assert [each.removeprefix("0x") for each in only(home).parents] == [begun]
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())
