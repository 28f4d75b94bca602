"""Every launcher calls the work in processes of its own, so many at once, and tells which of them died."""

from __future__ import annotations

import importlib.util
import os
import time
from contextlib import closing
from pathlib import Path

import pytest

from fedchain.adapters.launchers import pooled, processes
from fedchain.adapters.launchers.submitted import Submitted
from fedchain.core.errors import InputError
from fedchain.ports.launcher import Launcher
from fedchain.wiring.launchers import launcher_of
from tests.adapters.launched import work

LAUNCHERS = [
    "local",
    pytest.param("joblib", marks=pytest.mark.slow),
    pytest.param("submitit", marks=pytest.mark.slow),
]


@pytest.fixture(params=LAUNCHERS)
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Launcher:
    submitted = Submitted(tmp_path / "submitit", {"cluster": "local", "timeout_min": "3"})
    launchers: dict[str, Launcher] = {"local": processes.launch, "joblib": pooled.launch, "submitit": submitted}
    return launchers[request.param]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "traces"
    path.mkdir()
    return path


def test_each_line_is_called_once_in_another_process_and_two_at_once(launch: Launcher, folder: Path) -> None:
    lines = [f"meet\t{folder}\t{name}" for name in "abc"]
    endings = list(launch(work, lines, 2))
    assert sorted(each.line for each in endings) == lines
    assert {each.death for each in endings} == {""}
    assert {each.name for each in folder.iterdir()} == {"a", "b", "c"}
    assert str(os.getpid()) not in {each.read_text() for each in folder.iterdir()}


def test_a_call_that_is_killed_is_told_and_all_others_are_seen_to_their_end(launch: Launcher, folder: Path) -> None:
    lines = [f"die\t{folder}\ta", f"note\t{folder}\tb", f"note\t{folder}\tc"]
    endings = {each.line: each.death for each in launch(work, lines, 1)}
    assert set(endings) == set(lines)
    assert endings[lines[0]]
    if launch is not pooled.launch:
        assert (endings[lines[1]], endings[lines[2]]) == ("", "")


def test_closing_ends_what_runs(folder: Path) -> None:
    lines = [f"note\t{folder}\ta", f"wait\t{folder}\tb"]
    with closing(processes.launch(work, lines, 2)) as endings:
        assert next(endings).line == lines[0]
        while not (folder / "b").exists() or not (folder / "b").read_text():
            time.sleep(0)
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "b").read_text()), 0)


def test_a_launcher_that_is_not_installed_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    for name in ("joblib", "submitit"):
        with pytest.raises(InputError) as caught:
            launcher_of(name, "os", tmp_path, {})
        assert str(caught.value) == (
            f"--launcher {name}: expected the package {name}, got none; "
            f"pip install 'fedchain[{name}]', or leave the option out"
        )


def test_options_are_submitits_and_their_mistakes_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--launcher-option: expected --launcher submitit, got --launcher local"):
        launcher_of("local", "os", tmp_path, {"timeout_min": "5"})


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"walk": "5"}, {"cluster": "moon"}, {"timeout_min": "long"}])
def test_submitit_says_what_it_does_not_take(tmp_path: Path, parameters: dict[str, str]) -> None:
    with pytest.raises(InputError, match="--launcher-option: expected submitit's parameters, got "):
        next(Submitted(tmp_path / "submitit", parameters)(work, ["a"], 1))
