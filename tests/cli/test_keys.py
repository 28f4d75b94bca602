"""`fedchain keys` over a real folder: list, make, rotate, back up, restore."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedchain.adapters import key_backup, unlock
from fedchain.adapters.home import create_home
from fedchain.adapters.keys import key_path, make_secret, read_secret
from fedchain.adapters.system import SystemEntropy
from fedchain.cli.exits import Exit
from fedchain.cli.main import main


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlock, "_PERSONS_N", 2**4)
    monkeypatch.setattr(key_backup, "_N", 2**4)
    for name in ("FEDCHAIN_PASSPHRASE", "FEDCHAIN_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys = create_home(tmp_path / "home").keys
    make_secret(keys, "device", "va", SystemEntropy())
    make_secret(keys, "site-reader", "va", SystemEntropy())
    return tmp_path / "home"


@pytest.fixture
def passphrase(tmp_path: Path) -> str:
    path = tmp_path / "passphrase"
    path.write_text("of my own\n")
    path.chmod(0o600)
    return str(path)


def call(*arguments: str | Path) -> int:
    return main([str(each) for each in arguments])


def listed(home: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, bool]:
    capsys.readouterr()
    assert call("keys", "list", "--home", home, "--json") == Exit.DONE
    found = json.loads(capsys.readouterr().out)["keys"]
    return {f"{each['role']}/{each['name']} {each['does']}": each["kept"] == "encrypted" for each in found}


def test_the_list_shows_what_each_key_does_and_no_secret(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(home, capsys) == {"device/va signs": True, "site-reader/va reads": True}
    assert call("keys", "--home", home) == Exit.DONE
    text = capsys.readouterr().out
    assert "whoever has this folder has the keys" in text
    for role in ("device", "site-reader"):
        assert read_secret(key_path(home / "keys", role, "va")).hex() not in text


def test_a_key_is_made_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert call("keys", "make", "device", "cleveland", "--home", home) == Exit.DONE
    one, other = capsys.readouterr().out.splitlines()
    assert one == other
    assert one.startswith("Key device/cleveland signs: 0x")


def test_rotating_encrypts_what_is_plain_and_needs_the_new_passphrase_then(
    home: Path, passphrase: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = key_path(home / "keys", "site", "va")
    old.parent.mkdir(mode=0o700)
    old.write_text("11" * 32 + "\n")
    old.chmod(0o600)
    assert listed(home, capsys)["site/va signs"] is False
    assert call("keys", "rotate", "--passphrase-file", passphrase, "--home", home) == Exit.DONE
    assert "3 key files under the new passphrase" in capsys.readouterr().out
    assert set(listed(home, capsys).values()) == {True}
    assert not (home / "keys" / "simulated.unlock").exists()
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE_FILE", passphrase)
    assert read_secret(old) == b"\x11" * 32


def test_a_backup_brings_back_what_is_missing_and_replaces_nothing(
    home: Path, passphrase: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret, path = read_secret(key_path(home / "keys", "device", "va")), tmp_path / "keys.backup"
    assert call("keys", "backup", path, "--passphrase-file", passphrase, "--home", home) == Exit.DONE
    assert path.stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    for written in (4, 0):
        assert call("keys", "restore", path, "--passphrase-file", passphrase, "--home", other) == Exit.DONE
        assert f"{written} key files written back" in capsys.readouterr().out
    assert read_secret(key_path(other / "keys", "device", "va")) == secret
    key_path(other / "keys", "device", "va").write_text("22" * 32 + "\n")
    assert call("keys", "restore", path, "--passphrase-file", passphrase, "--home", other) == Exit.INPUT
    assert "is another key than the backup has" in capsys.readouterr().err
    assert call("keys", "backup", path, "--passphrase-file", passphrase, "--home", home) == Exit.INPUT


def test_a_backup_opens_with_its_own_passphrase_only(
    home: Path, passphrase: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.backup"
    assert call("keys", "backup", path, "--passphrase-file", passphrase, "--home", home) == Exit.DONE
    Path(passphrase).write_text("another\n")
    assert call("keys", "restore", path, "--passphrase-file", passphrase, "--home", tmp_path / "other") == Exit.INPUT
    assert "wrong passphrase" in capsys.readouterr().err
    assert not (tmp_path / "other" / "keys").exists()
    path.write_bytes(b"{}")
    assert call("keys", "restore", path, "--passphrase-file", passphrase, "--home", tmp_path / "other") == Exit.INPUT
    assert "is no backup of keys" in capsys.readouterr().err
