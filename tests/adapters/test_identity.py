from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedchain.adapters.identity import INSTALLATION, code_digest, env_digest, lock_file
from fedchain.core.errors import InputError


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A checkout in small."""
    for name, text in {
        "clients/__init__.py": "",
        "server/__init__.py": "",
        "fedchain/__init__.py": "version = 1\n",
        "fedchain/core/sum.py": "def add(): ...\n",
        "fedchain/adapters/contract.json": "{}",
        "pyproject.toml": "",
        "requirements.lock": "numpy==2.2.0\n",
    }.items():
        path = tmp_path / "checkout" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "checkout"


def test_the_same_sources_elsewhere_have_the_same_digest(installation: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(installation, tmp_path / "copy")
    assert code_digest(installation) == code_digest(copy)
    assert len(code_digest(installation)) == 32


@pytest.mark.parametrize("name", ["fedchain/core/sum.py", "fedchain/adapters/contract.json", "clients/__init__.py"])
def test_every_file_counts(installation: Path, name: str) -> None:
    before = code_digest(installation)
    (installation / name).write_text("# altered")
    assert code_digest(installation) != before


def test_a_new_a_renamed_and_a_deleted_file_count(installation: Path) -> None:
    digests = [code_digest(installation)]
    (installation / "fedchain/new.py").write_text("")
    digests.append(code_digest(installation))
    (installation / "fedchain/new.py").rename(installation / "fedchain/newer.py")
    digests.append(code_digest(installation))
    (installation / "fedchain/core/sum.py").unlink()
    digests.append(code_digest(installation))
    assert len(set(digests)) == 4


def test_moving_text_from_one_file_to_the_next_counts(installation: Path) -> None:
    (installation / "fedchain/a.py").write_text("ab")
    (installation / "fedchain/b.py").write_text("c")
    before = code_digest(installation)
    (installation / "fedchain/a.py").write_text("a")
    (installation / "fedchain/b.py").write_text("bc")
    assert code_digest(installation) != before


def test_caches_and_hidden_files_do_not_count(installation: Path) -> None:
    before = code_digest(installation)
    (installation / "fedchain/__pycache__").mkdir()
    (installation / "fedchain/__pycache__/sum.cpython-311.pyc").write_bytes(b"x")
    (installation / "fedchain/core/.sum.py.swp").write_bytes(b"x")
    (installation / "tests").mkdir()
    (installation / "tests/test_sum.py").write_text("")
    assert code_digest(installation) == before


def test_a_missing_package_is_named(installation: Path) -> None:
    shutil.rmtree(installation / "clients")
    with pytest.raises(InputError, match="package clients is missing"):
        code_digest(installation)


def test_a_wheel_and_its_checkout_have_the_same_digests(installation: Path, tmp_path: Path) -> None:
    wheel = tmp_path / "site-packages"
    for package in ("clients", "fedchain", "server"):
        shutil.copytree(installation / package, wheel / package)
    shutil.copy(installation / "requirements.lock", wheel / "fedchain/requirements.lock")
    assert env_digest(wheel) == env_digest(installation)
    assert code_digest(wheel) == code_digest(installation)


def test_another_pin_is_another_environment(installation: Path) -> None:
    before = env_digest(installation)
    (installation / "requirements.lock").write_text("numpy==2.2.1\n")
    assert env_digest(installation) != before


def test_a_missing_lock_is_one_clear_line(installation: Path) -> None:
    (installation / "requirements.lock").unlink()
    with pytest.raises(InputError, match=r"requirements\.lock is missing.*make lock"):
        env_digest(installation)


def test_a_lock_that_lies_beside_an_installed_package_by_chance_is_not_taken(installation: Path) -> None:
    (installation / "pyproject.toml").unlink()
    with pytest.raises(InputError, match="missing"):
        lock_file(installation)


def test_this_very_code_has_a_digest() -> None:
    assert code_digest(INSTALLATION) == code_digest()
