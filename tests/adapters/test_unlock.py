"""Where a passphrase comes from, in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedchain.adapters import unlock
from fedchain.adapters.keys import key_path, make_secret, make_signer, public_of, read_secret, read_signer
from fedchain.adapters.unlock import SIMULATED_UNLOCK, UNLOCK, change_passphrase, is_simulated
from fedchain.core.errors import FormatError, InputError
from tests.doubles.clock import CountedEntropy


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stretch little, and find nothing in the environment of whoever runs the tests."""
    monkeypatch.setattr(unlock, "_PERSONS_N", 2**4)
    for name in ("FEDCHAIN_PASSPHRASE", "FEDCHAIN_PASSPHRASE_FILE", "CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def private(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o600)
    return path


def locked_with(keys: Path, passphrase: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Make a key under a passphrase of the environment, which is forgotten then."""
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE", passphrase)
    secret = make_secret(keys, "device", "va", CountedEntropy())
    monkeypatch.delenv("FEDCHAIN_PASSPHRASE")
    return secret


def test_a_simulation_needs_nobody_and_says_where_its_passphrase_lies(keys: Path) -> None:
    secret = make_secret(keys, "device", "va", CountedEntropy())
    assert is_simulated(keys)
    for name in (SIMULATED_UNLOCK, UNLOCK, "device/va.key"):
        assert (keys / name).stat().st_mode & 0o777 == 0o600
    stored = b"".join(path.read_bytes() for path in keys.rglob("*") if path.is_file())
    assert secret not in stored
    assert secret.hex().encode() not in stored
    assert read_secret(key_path(keys, "device", "va")) == secret
    (keys / SIMULATED_UNLOCK).unlink()
    with pytest.raises(InputError, match="No such file"):
        read_secret(key_path(keys, "device", "va"))


def test_with_a_passphrase_in_the_environment_none_is_left_beside_the_keys(
    keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = locked_with(keys, "correct horse", monkeypatch)
    assert not (keys / SIMULATED_UNLOCK).exists()
    assert not is_simulated(keys)
    with pytest.raises(InputError, match="are locked: expected the credential fedchain-passphrase"):
        read_secret(key_path(keys, "device", "va"))
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE", "wrong")
    with pytest.raises(InputError, match="wrong passphrase"):
        read_secret(key_path(keys, "device", "va"))
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE", "correct horse")
    assert read_secret(key_path(keys, "device", "va")) == secret


def test_a_credential_comes_before_a_file_before_a_variable(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, path = locked_with(keys, "right", monkeypatch), key_path(keys, "device", "va")
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE", "wrong")
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE_FILE", str(private(tmp_path / "file", "right\n")))
    assert read_secret(path) == secret
    private(tmp_path / "file", "wrong\n")
    with pytest.raises(InputError, match="wrong passphrase"):
        read_secret(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    private(tmp_path / "fedchain-passphrase", "right\n")
    assert read_secret(path) == secret


def test_on_a_terminal_it_is_asked_for_once(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, asked = locked_with(keys, "spoken", monkeypatch), list[str]()

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return "spoken"

    monkeypatch.setattr("getpass.getpass", answer)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for _ in range(3):
        assert read_secret(key_path(keys, "device", "va")) == secret
    assert len(asked) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_passphrase_that_others_may_read_is_refused(
    keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    file = private(tmp_path / "file", "right\n")
    file.chmod(mode)
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE_FILE", str(file))
    with pytest.raises(InputError, match=f"open to others: expected mode 0600, got mode {mode:04o}"):
        make_secret(keys, "device", "va", CountedEntropy())


def test_another_passphrase_opens_and_the_old_one_does_not(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = make_secret(keys, "device", "va", CountedEntropy())
    change_passphrase(keys, "second", CountedEntropy(b"more"))
    assert not (keys / SIMULATED_UNLOCK).exists()
    monkeypatch.setenv("FEDCHAIN_PASSPHRASE", "second")
    assert read_secret(key_path(keys, "device", "va")) == secret
    with pytest.raises(InputError, match="at least one character"):
        change_passphrase(keys, "", CountedEntropy())


def test_a_key_under_another_name_is_told_by_its_address(keys: Path) -> None:
    signer = make_signer(keys, "device", "va", CountedEntropy())
    assert public_of(key_path(keys, "device", "va")) == signer.address
    reading = make_secret(keys, "site-reader", "va", CountedEntropy(b"reader"))
    assert public_of(key_path(keys, "site-reader", "va")) not in (None, reading)


def test_a_key_of_another_home_or_an_altered_one_does_not_open(keys: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_signer(keys, "device", "va", CountedEntropy())
    make_signer(other, "device", "va", CountedEntropy(b"other"))
    path = key_path(keys, "device", "va")
    genuine = path.read_bytes()
    path.write_bytes(key_path(other, "device", "va").read_bytes())
    with pytest.raises(FormatError, match="does not open"):
        read_signer(path)
    place = genuine.index(b'"public":"0x') + 12
    path.write_bytes(genuine[:place] + (b"0" if genuine[place : place + 1] != b"0" else b"1") + genuine[place + 1 :])
    with pytest.raises(FormatError, match="does not open"):
        read_signer(path)


@pytest.mark.parametrize("text", [b"", b"{}", b'{"format":"fedchain/unlock/9"}', b"\xff"])
def test_a_damaged_unlock_file_is_named(keys: Path, text: bytes) -> None:
    make_signer(keys, "device", "va", CountedEntropy())
    (keys / UNLOCK).write_bytes(text)
    with pytest.raises(FormatError, match=r"unlock\.json is damaged"):
        read_signer(key_path(keys, "device", "va"))


def test_a_file_that_asks_for_all_memory_is_refused(keys: Path) -> None:
    make_signer(keys, "device", "va", CountedEntropy())
    text = (keys / UNLOCK).read_bytes()
    for n in (b"1125899906842624", b"1000", b"0"):
        (keys / UNLOCK).write_bytes(text.replace(b'"n":1024', b'"n":' + n))
        with pytest.raises(FormatError, match="of another version"):
            read_signer(key_path(keys, "device", "va"))
