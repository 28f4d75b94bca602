"""Early stopping, checkpoints and imported models in a real home, without tracking and on the signed log."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedchain.adapters.home import open_home
from fedchain.adapters.model_files import digest_of
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import CheckpointConfig, EarlyStoppingConfig, LedgerConfig, RewardsConfig
from fedchain.core.errors import InputError
from fedchain.core.lineage import Verdict
from fedchain.ports.watcher import Evaluated, Event, ModelKept, RunEnded
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.export import recorded_runs
from fedchain.wiring.progress import checkpoint_path, metrics_path
from tests.scenarios.genuine import SMALL, check, run_quietly

LOGGED = replace(SMALL, ledger=LedgerConfig("log", 0), rewards=RewardsConfig("off", 0, "credits", None, 60), rounds=6)
STOPPING = replace(LOGGED, early_stopping=EarlyStoppingConfig(1, 0.5))


class CutError(Exception):
    """Stands for a crash."""


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of that home, for one test."""
    return shutil.copytree(finished, tmp_path / "home")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a run that was cut off after its second evaluation, went on, and ended early there."""
    place = tmp_path_factory.mktemp("everyday") / "home"

    def cut(event: Event) -> None:
        if isinstance(event, Evaluated) and event.round == 2:
            raise CutError

    with pytest.raises(CutError):
        run_quietly(STOPPING, place, cut)
    (run,) = (each.name for each in open_home(place).runs.iterdir())
    metrics_path(open_home(place), run).unlink()  # what is lost is computed again
    seen: list[Event] = []
    assert run_quietly(STOPPING, place, seen.append).hex() == run
    assert [each.round for each in seen if isinstance(each, Evaluated)] == [1, 2]
    assert [type(each) for each in seen[-2:]] == [RunEnded, ModelKept]
    return place


def told(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*command, "--json"]) == Exit.DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_run_ended_early_verifies_and_says_why(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lineage = check(home, trusted=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())
    assert [each.kind for each in lineage.rounds] == ["sealed", "sealed", "closed"]
    runs = told(capsys, "runs", "--home", str(home))["runs"]
    assert isinstance(runs, list)
    (row,) = runs
    assert row["ending"] == "stopped early after round 2: no better auroc by more than 0.5 for 1 round"
    assert (row["state"], row["rounds_ended"], row["rounds"]) == ("finished", 2, 6)


def test_the_checkpoints_are_the_recorded_models(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_home(home)
    (run,) = recorded_runs(opened, open_artifacts(opened))
    name = run.manifest.run.hex()
    to = tmp_path / "last.safetensors"
    for option, kept in (("--best", "best"), ("", "last")):
        to = tmp_path / f"{kept}.safetensors"
        said = told(capsys, "model", "export", name[:8], "--to", str(to), "--home", str(home), *filter(None, [option]))
        assert to.read_bytes() == checkpoint_path(opened, name, kept).read_bytes()
        assert said["round"] == str({"last": run.newest, "best": run.best}[kept])
    there = str(tmp_path / "last.safetensors")
    assert main(["model", "export", name, "--to", there, "--home", str(home)]) == Exit.INPUT
    assert "already" in capsys.readouterr().err


def test_the_run_is_drawn_into_its_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (name,) = (each.name for each in open_home(home).runs.iterdir())
    files = told(capsys, "plot", name[:8], "--home", str(home))["files"]
    folder = home / "runs" / name / "plots"
    assert files == [str(folder / "metrics.svg"), str(folder / "privacy.svg")]
    assert all(Path(each).read_bytes().startswith(b"<?xml") for each in files)
    assert main(["plot", name, name, "--home", str(home)]) == Exit.INPUT
    assert "--to: expected a folder" in capsys.readouterr().err


def test_a_run_from_a_checkpoint_begins_with_that_very_model(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = open_home(home)
    (parent,) = recorded_runs(opened, open_artifacts(opened))
    file = tmp_path / "pretrained.safetensors"
    file.write_bytes(checkpoint_path(opened, parent.manifest.run.hex(), "last").read_bytes())
    digest = digest_of(file)
    config = replace(LOGGED, rounds=1, model=replace(LOGGED.model, initial=file.name, initial_sha256=digest))
    child = run_quietly(config, home)
    lineage = check(home, trusted=True)
    assert lineage.verdict is Verdict.VERIFIED
    (first,) = (each for each in lineage.rounds if (each.run, each.round) == (child.hex(), 1))
    assert first.base_model == parent.state.decided[parent.newest].model.digest.hex()
    origin = told(capsys, "lineage", "--home", str(home), "--trust", str(opened.trust))["initial_model"]
    assert origin == {
        "digest": f"0x{first.base_model}",
        "file_sha256": digest,
        "is": f"the model of run 0x{parent.manifest.run.hex()} after round 2 of this record",
    }


def test_a_run_goes_on_only_with_the_file_that_it_began_with(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened = open_home(home)
    run = min(recorded_runs(opened, open_artifacts(opened)), key=lambda each: each.manifest.created_at)
    folder = checkpoint_path(opened, run.manifest.run.hex(), "last").parent
    file = tmp_path / "start.safetensors"

    def cut(event: Event) -> None:
        if isinstance(event, Evaluated):
            raise CutError

    file.write_bytes((folder / "last.safetensors").read_bytes())
    model = replace(LOGGED.model, initial=file.name, initial_sha256=digest_of(file))
    config = replace(LOGGED, rounds=2, seed=5, model=model)
    with pytest.raises(CutError):
        run_quietly(config, home, cut)
    data = bytearray(file.read_bytes())
    data[-2] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        InputError, match=r"start.safetensors is not the file that the run was planned with: expected .*--fresh"
    ):
        run_quietly(config, home)
    data[-2] ^= 1
    file.write_bytes(data)
    run_quietly(config, home)


def test_a_metric_of_another_task_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    wrong = replace(LOGGED, checkpoint=CheckpointConfig("rmse"))
    with pytest.raises(InputError, match=r"checkpoint.metric: expected auroc or auprc or accuracy"):
        run_quietly(wrong, tmp_path / "new")
    assert not (tmp_path / "home").exists()
