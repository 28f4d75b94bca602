"""Keys in a token, on SoftHSM: Debian's package, unpacked by scripts/softhsm.sh (`make test-slow` calls it)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fedchain.adapters.keys import keep_token_key, key_path, make_device, read_device
from fedchain.adapters.system import SystemEntropy
from fedchain.adapters.token import TokenSigner, make_token_key
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core.errors import InputError
from fedchain.core.signatures import recover
from fedchain.ports.signer import Signer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
SOFTHSM = ROOT / ".cache" / "softhsm"
MODULE = str(SOFTHSM / "usr/lib/softhsm/libsofthsm2.so")


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The label of a fresh token. The module reads its configuration once a process."""
    subprocess.run([ROOT / "scripts" / "softhsm.sh", SOFTHSM], check=True)
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n")
    patch = pytest.MonkeyPatch()
    patch.setenv("SOFTHSM2_CONF", str(config))
    tool = SOFTHSM / "usr/bin/softhsm2-util"
    initialise = [str(tool), "--module", MODULE, "--init-token", "--free", "--label", "hospital", "--pin", "1234"]
    subprocess.run([*initialise, "--so-pin", "5678"], check=True, capture_output=True)
    return "hospital"


@pytest.fixture(autouse=True)
def pin(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CREDENTIALS_DIRECTORY", "FEDCHAIN_PIN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FEDCHAIN_PIN", "1234")


def test_a_key_in_a_token_signs_what_recovers_to_its_address(token: str, tmp_path: Path) -> None:
    key = make_token_key(MODULE, token, "va")
    keep_token_key(tmp_path, "device", "va", key)
    signer: Signer = read_device(key_path(tmp_path, "device", "va"))
    assert isinstance(signer, TokenSigner)
    for number in range(8):  # s is in the upper half of the order every other time
        assert recover(bytes([number]) * 32, signer.sign(bytes([number]) * 32)) == signer.address
    with pytest.raises(ValueError, match="covers 32 bytes"):
        signer.sign(b"short")


def test_a_key_is_made_once_and_found_again(token: str, tmp_path: Path) -> None:
    first, again, other = (make_token_key(MODULE, token, label) for label in ("once", "once", "other"))
    assert first == again
    assert first.public != other.public
    keep_token_key(tmp_path, "device", "va", first)
    keep_token_key(tmp_path, "device", "va", first)
    with pytest.raises(InputError, match="is another key"):
        keep_token_key(tmp_path, "device", "va", other)
    assert make_device(tmp_path, "va", SystemEntropy()).address == first.public


def test_without_the_pin_nothing_is_signed(token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = TokenSigner(make_token_key(MODULE, token, "locked"))
    monkeypatch.setenv("FEDCHAIN_PIN", "9999")
    with pytest.raises(InputError, match="wrong PIN"):
        signer.sign(bytes(32))
    monkeypatch.delenv("FEDCHAIN_PIN")
    with pytest.raises(InputError, match="is locked: expected the credential fedchain-pin"):
        signer.sign(bytes(32))


def test_what_is_not_there_is_named(token: str) -> None:
    with pytest.raises(InputError, match=r"cannot be used through /nowhere\.so: got PKCS11Error"):
        make_token_key("/nowhere.so", token, "va")
    with pytest.raises(InputError, match="the token nobody's cannot be used"):
        make_token_key(MODULE, "nobody's", "va")


def test_the_command_line_makes_a_device_key_there(
    token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(tmp_path / "home")
    place = ["--pkcs11", MODULE, "--token", token, "--home", home]
    assert main(["keys", "make", "device", "va", *place]) == Exit.DONE
    assert main(["keys", "--home", home]) == Exit.DONE
    assert "in a token" in capsys.readouterr().out
    assert not list((tmp_path / "home" / "keys").rglob("unlock.json"))
    assert main(["keys", "make", "site", "va", *place]) == Exit.INPUT
    assert "expected device" in capsys.readouterr().err
