"""The environment: no CUDA library unasked, and no half-installed environment taken for a whole one.

pip is given its own index here: a folder of empty wheels. The one of torch asks for CUDA libraries, as PyPI's does.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from scripts.venv import create, install_torch, pip, torch_pin, would_install

TORCH = "torch==2.13.0"


def wheel(folder: Path, name: str, version: str, requires: str = "") -> None:
    """Put a wheel with no content but its metadata into the folder."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + (
        f"Requires-Dist: {requires}\n" * bool(requires)
    )
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One environment for the module, made where an install was interrupted; a test that installs into it cleans up."""
    venv = tmp_path_factory.mktemp("made") / "venv"
    venv.mkdir()
    (venv / "pyvenv.cfg").touch()
    (venv / "half-installed").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scripts.venv.PIP", "pip")  # the bundled one will do, and no index is asked
        create(venv)
    return venv


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package index whose torch asks for CUDA libraries; pip sees no other."""
    folder = tmp_path / "index"
    wheel(folder, "torch", "2.13.0", requires="nvidia-cublas")
    wheel(folder, "nvidia_cublas", "13.1")
    for variable in ("PIP_EXTRA_INDEX_URL", "PIP_INDEX_URL", "TORCH", "TORCH_INDEX"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_torch_with_cuda_stops_the_install_and_names_both_remedies(made: Path) -> None:
    with pytest.raises(SystemExit, match=r"1 CUDA libraries .*nvidia-cublas.*TORCH_INDEX=.*TORCH=cuda"):
        install_torch(made, TORCH)


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_torch_cuda_accepts_the_cuda_libraries(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH", "cuda")
    install_torch(made, TORCH)
    assert [name for name, _ in would_install(made, TORCH)] == ["nvidia-cublas", "torch"]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_a_cpu_torch_passes(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(tmp_path / "cpu", "torch", "2.13.0")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "cpu"))
    install_torch(made, TORCH)
    assert would_install(made, TORCH) == [("torch", "2.13.0")]


@pytest.mark.slow
@pytest.mark.usefixtures("index")
def test_torch_index_is_where_torch_alone_is_taken_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path
) -> None:
    simple = tmp_path / "simple" / "torch"
    simple.parent.mkdir()
    wheel(simple, "torch", "2.13.0+cpu")
    (simple / "index.html").write_text('<a href="torch-2.13.0+cpu-py3-none-any.whl">torch</a>')
    monkeypatch.setenv("TORCH_INDEX", simple.parent.as_uri())
    monkeypatch.delenv("PIP_NO_INDEX")
    install_torch(made, TORCH)
    try:
        assert would_install(made, TORCH) == []  # it is in, though the index that pip has itself offers only CUDA
    finally:
        pip(made, "uninstall", "-qq", "--yes", "torch")


@pytest.mark.slow
def test_an_interrupted_install_is_made_anew(made: Path) -> None:
    assert not (made / "half-installed").exists()
    assert (made / "bin" / "python").exists()


def test_a_finished_install_is_kept_but_has_no_stamp_until_the_new_lock_is_in(tmp_path: Path) -> None:
    (tmp_path / "grown").touch()
    (tmp_path / ".installed").touch()
    create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["grown"]


def test_a_folder_that_is_no_environment_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("all of it")
    with pytest.raises(SystemExit, match="got another folder"):
        create(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


def test_the_lock_pins_the_torch_that_the_guard_asks_for() -> None:
    assert torch_pin() == TORCH
