"""A run that was interrupted meets a damaged artifact when it goes on: one clear line, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import fedchain.wiring.simulation
from fedchain.adapters.home import Home
from fedchain.adapters.journal_file import read_journal
from fedchain.cli.compose import compose
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core.cid import Cid
from fedchain.core.errors import IntegrityError
from fedchain.core.lineage import Verdict
from fedchain.ports.watcher import Event, UpdateAdmitted
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.runs import runs
from fedchain.workflow.planning import read_plan
from fedchain.workflow.run_state import RunState
from tests.scenarios.genuine import check, run_quietly, untracked

pytestmark = pytest.mark.slow

RUN: Final = ("experiment=heart", "privacy=off", "rounds=2", "strategy.batch_size=64")


class Interruption(Exception):  # noqa: N818  # no error: the test wants it
    """What a test raises in the middle of a run."""


def interrupt(event: Event) -> None:
    if isinstance(event, UpdateAdmitted) and event.round == 2:
        raise Interruption


@pytest.fixture(autouse=True)
def _untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedchain.wiring.simulation, "tracked", untracked)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose run was interrupted when one update of its second round was in."""
    home = tmp_path_factory.mktemp("interrupted") / "home"
    with pytest.raises(Interruption):
        run_quietly(compose(RUN), home, interrupt)
    return home


def state_of(home: Path) -> RunState:
    (row,) = runs(home)
    return RunState.replay(read_journal(Home(home).journal(row.run)))


def run_manifest(home: Path) -> str:
    planned = state_of(home).planned
    assert planned is not None
    return planned.manifest_cid


def policy(home: Path) -> str:
    return read_plan(open_artifacts(Home(home)), run_manifest(home), 0).manifest.cohort[0].policy.cid


def base_model(home: Path) -> str:
    opened = state_of(home).opened
    assert opened is not None
    return opened.base_model.cid


def admitted_payload(home: Path) -> str:
    admitted, *_ = state_of(home).accepted.values()
    return admitted.payload_cid


@pytest.mark.parametrize("named", [run_manifest, policy, base_model, admitted_payload])
def test_a_damaged_artifact_ends_a_resumed_run_in_one_line_and_once_restored_the_run_completes(
    named: Callable[[Path], str], interrupted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(interrupted, home)
    cid = named(home)
    (artifact,) = Home(home).store.rglob(cid)
    intact = artifact.read_bytes()
    artifact.write_bytes(bytes([intact[0] ^ 1]) + intact[1:])
    with pytest.raises(IntegrityError):
        open_artifacts(Home(home)).get(Cid.parse(cid))

    assert main(["run", *RUN, "--home", str(home)]) == Exit.FINDINGS
    told = capsys.readouterr().err
    (line,) = (line for line in told.splitlines() if line.startswith("fedchain: "))
    assert f"artifact {cid} is damaged" in line
    assert "Traceback" not in told

    artifact.write_bytes(intact)
    assert main(["run", *RUN, "--home", str(home)]) == Exit.DONE
    assert state_of(home).is_finished
    assert check(home, trusted=True).verdict is Verdict.VERIFIED
