from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fedchain.adapters.keys import FileSigner, key_path, make_signer, read_secret, read_signer
from fedchain.adapters.system import SystemEntropy
from fedchain.core.errors import FormatError, InputError
from fedchain.core.signatures import recover
from fedchain.ports.signer import Signer
from tests.doubles.clock import CountedEntropy


def test_a_key_is_drawn_once_and_kept(tmp_path: Path) -> None:
    entropy = CountedEntropy()
    first = make_signer(tmp_path, "site", "cleveland", entropy)
    second = make_signer(tmp_path, "site", "cleveland", entropy)
    assert first.address == second.address
    drawn = entropy.drawn
    make_signer(tmp_path, "site", "cleveland", entropy)
    assert entropy.drawn == drawn


def test_a_key_signs_what_recovers_to_its_address(tmp_path: Path) -> None:
    signer: Signer = make_signer(tmp_path, "device", "hungary", SystemEntropy())
    assert recover(bytes(range(32)), signer.sign(bytes(range(32)))) == signer.address


def test_roles_and_names_have_different_keys(tmp_path: Path) -> None:
    names = [("site", "a"), ("site", "b"), ("device", "a")]
    assert len({make_signer(tmp_path, role, name, SystemEntropy()).address for role, name in names}) == 3


def test_a_key_file_is_for_its_owner_only(tmp_path: Path) -> None:
    make_signer(tmp_path / "keys", "site", "a", SystemEntropy())
    path = key_path(tmp_path / "keys", "site", "a")
    assert path == tmp_path / "keys" / "site" / "a.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    make_signer(tmp_path, "site", "a", SystemEntropy())
    path = key_path(tmp_path, "site", "a")
    path.chmod(mode)
    with pytest.raises(InputError, match=f"expected mode 0600, got mode {mode:04o}; chmod 600 "):
        read_signer(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"00" * 32 + b"\n",  # zero is no key
        b"ff" * 32 + b"\n",  # beyond the order of the curve
        b"11" * 31 + b"\n",
        b"11" * 33 + b"\n",
        b"1g" * 32 + b"\n",
        b"11" * 32,
        bytes(65),
    ],
)
def test_a_file_that_holds_no_key_is_named_and_its_content_is_not(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(FormatError, match=r"a\.key holds no key") as caught:
        read_signer(path)
    assert not content or content.decode("latin-1").strip() not in str(caught.value)


def test_a_missing_key_is_not_drawn_by_reading(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_signer(tmp_path / "a.key")
    assert list(tmp_path.iterdir()) == []


def test_the_secret_is_in_no_representation(tmp_path: Path) -> None:
    signer = make_signer(tmp_path, "site", "a", SystemEntropy())
    secret = read_secret(key_path(tmp_path, "site", "a")).hex()
    for shown in (repr(signer), str(signer), repr([signer])):
        assert secret not in shown
        assert repr(bytes.fromhex(secret)) not in shown


def test_makers_at_the_same_time_end_with_one_key(tmp_path: Path) -> None:
    def make(_: int) -> FileSigner:
        return make_signer(tmp_path, "site", "a", SystemEntropy())

    with ThreadPoolExecutor(8) as pool:
        assert len({each.address for each in pool.map(make, range(32))}) == 1
    assert [each.name for each in (tmp_path / "site").iterdir()] == ["a.key"]


@pytest.mark.parametrize("name", ["..", "a/b", "A", ""])
def test_a_name_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        make_signer(tmp_path, "site", name, SystemEntropy())
    with pytest.raises(InputError):
        make_signer(tmp_path, name, "a", SystemEntropy())


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_32_bytes_are_signed(tmp_path: Path, size: int) -> None:
    with pytest.raises(ValueError, match="covers 32 bytes"):
        make_signer(tmp_path, "site", "a", SystemEntropy()).sign(bytes(size))
