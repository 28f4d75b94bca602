"""Bad homes and bad data through the real verbs: one line, exit code 2, nothing lost and nothing half-written."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from fedchain.adapters.home import HOME_FORMAT, create_home, locked
from fedchain.adapters.model_files import encoded
from fedchain.cli.exits import Exit
from fedchain.cli.main import main

pytestmark = pytest.mark.filterwarnings("ignore:'click:DeprecationWarning")  # importing Flower imports an old use of it

VERBS = [["run"], ["runs"], ["runs", "diff", "a", "b"], ["verify"], ["lineage"]]


def complaint(arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a verb ends in, with nothing on standard output but the document."""
    assert main([*arguments, "--home", str(home)]) == Exit.INPUT
    out, err = capsys.readouterr()
    assert out == ""
    assert main([*arguments, "--home", str(home), "--json"]) == Exit.INPUT
    again, _ = capsys.readouterr()
    assert json.loads(again)["exit"] == 2
    (line,) = err.splitlines()
    return str(line)


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def without_root() -> Iterator[None]:
    """Permissions bind everybody but root."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_home_of_another_version(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home.json").write_text(json.dumps({"format": HOME_FORMAT + 1}))
    before = everything_in(tmp_path)
    line = complaint(verb, tmp_path, capsys)
    told = f"another version: expected format {HOME_FORMAT}, got format {HOME_FORMAT + 1}; use the release of fedchain"
    assert told in line
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_a_damaged_home(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "home.json").write_text("{")
    assert "home.json is damaged: expected" in complaint(verb, tmp_path, capsys)


def test_a_folder_that_is_no_home_is_not_made_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.tex").write_text("do not touch")
    assert "holds other things and no home.json" in complaint(["run"], tmp_path, capsys)
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_home_that_may_not_be_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("fedchain.cli.simulation")  # what a run imports, while it may be read
    main(["run", "--home", str(tmp_path / "x"), "--dry-run"])
    capsys.readouterr()
    tmp_path.chmod(0o500)
    with without_root():
        line = complaint(["run"], tmp_path / "home", capsys)
    tmp_path.chmod(0o700)
    assert "no permission for" in line
    assert "choose another with --home" in line
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_another_process_is_using(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = create_home(tmp_path / "home")
    with locked(home):
        before = everything_in(home.root)
        line = complaint(["run"], home.root, capsys)
        assert everything_in(home.root) == before
    assert f"home is in use by process {os.getpid()}: got {home.root}; wait until it ends" in line


def test_a_data_folder_without_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    line = complaint(["run", f"data.directory={tmp_path / 'data'}"], tmp_path / "home", capsys)
    assert str(tmp_path / "data") in line
    assert not (tmp_path / "home").exists()


def test_a_configuration_that_is_wrong_makes_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "privacy=off" in complaint(["run", "privacy.epsilon=0"], tmp_path / "home", capsys)
    assert not (tmp_path / "home").exists()


def test_a_dry_run_makes_no_home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--home", str(tmp_path / "home")]) == Exit.DONE
    assert "nothing was run or spent" in capsys.readouterr().out
    assert not (tmp_path / "home").exists()


BARE_WEIGHTS = {"output.bias": np.zeros(1), "output.weight": np.zeros((1, 13))}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["device=cuda"], "device=cuda: expected a GPU that torch can use, got none"),
        (["model.initial=none.safetensors"], "none.safetensors"),
        (["model.initial=text.safetensors"], "text.safetensors is no safetensors file"),
        (
            ["model.initial=logistic.safetensors", "model=mlp", "model.hidden=4"],
            "logistic.safetensors has no tensor hidden1.bias: it holds another model",
        ),
        (
            ["model.initial=wide.safetensors"],
            "tensor output.weight is another model's: expected shape (1, 13), got (1, 9)",
        ),
        (
            ["model.initial=large.safetensors"],
            "tensor output.bias does not fit fixed point: expected finite values below",
        ),
        (
            ["checkpoint.metric=mae"],
            "checkpoint.metric: expected auroc or auprc or accuracy for model.task=binary, got mae",
        ),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_a_device_a_first_model_or_a_metric_that_cannot_be_used_makes_no_home(
    overrides: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.safetensors").write_text("weights")
    for name, changed in (
        ("logistic", BARE_WEIGHTS),
        ("wide", BARE_WEIGHTS | {"output.weight": np.zeros((1, 9))}),
        ("large", BARE_WEIGHTS | {"output.bias": np.array([128.0])}),
    ):
        Path(f"{name}.safetensors").write_bytes(encoded(changed, {}))
    assert main(["run", *overrides, "rewards=off", "--home", str(tmp_path / "home")]) == Exit.INPUT
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "home").exists()
