"""Keys in encrypted files, and keys that another program holds."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from fedchain.adapters.evm.external_signer import CommandSigner
from fedchain.adapters.evm.keystore import make_keystore, open_keystore, read_password
from fedchain.core import signatures
from fedchain.core.errors import FormatError, InputError, UnreachableError
from tests.doubles.clock import CountedEntropy

DIGEST = b"\x42" * 32
PASSWORD = "correct horse"


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "aggregator.json"
    make_keystore(path, PASSWORD, CountedEntropy(), scrypt_n=2**10)
    return path


def test_a_key_is_the_same_after_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    made = make_keystore(path, PASSWORD, CountedEntropy(), scrypt_n=2**10)
    opened = open_keystore(path, PASSWORD)
    assert opened.address == made.address
    assert signatures.recover(DIGEST, opened.sign(DIGEST)) == made.address
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_secret_is_in_no_form_in_the_file(keystore: Path) -> None:
    secret = CountedEntropy().secret(32)
    assert open_keystore(keystore, PASSWORD).address == signatures.address_of(secret)
    assert secret.hex() not in keystore.read_text()
    assert secret not in keystore.read_bytes()


def test_the_file_is_one_that_other_programs_read(keystore: Path) -> None:
    content = json.loads(keystore.read_text())
    assert (content["version"], content["crypto"]["kdf"]) == (3, "scrypt")
    assert bytes(Account.decrypt(content, PASSWORD)) == CountedEntropy().secret(32)


def test_the_published_example_opens(tmp_path: Path) -> None:
    """Test vector of the Web3 Secret Storage definition, scrypt."""
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(VECTOR))
    path.chmod(0o600)
    secret = bytes.fromhex("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d")
    assert open_keystore(path, "testpassword").address == signatures.address_of(secret)


def test_a_wrong_password_is_one_line(keystore: Path) -> None:
    with pytest.raises(InputError, match="wrong password for"):
        open_keystore(keystore, "guess")


def test_a_key_is_never_written_over(keystore: Path) -> None:
    with pytest.raises(InputError, match="keystore is there already"):
        make_keystore(keystore, PASSWORD, CountedEntropy(b"other"), scrypt_n=2**10)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content["crypto"]["kdfparams"].update(n=2**30),
        lambda content: content["crypto"]["kdfparams"].update(p=2**20),
        lambda content: content["crypto"]["kdfparams"].update(n="262144"),
        lambda content: content["crypto"]["kdfparams"].update(r=0),
        lambda content: content["crypto"].pop("mac"),
        lambda content: content["crypto"].update(kdf="plain"),
        lambda content: content.pop("crypto"),
        lambda content: content.update(version=1),
        lambda content: content.update(address="00" * 20),
    ],
)
def test_a_damaged_or_hostile_keystore_is_refused(keystore: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(keystore.read_text())
    change(content)
    keystore.write_text(json.dumps(content))
    with pytest.raises(InputError):
        open_keystore(keystore, PASSWORD)


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", "nonsense", "[" * 9000])
def test_what_is_no_keystore_is_refused(keystore: Path, text: str) -> None:
    keystore.write_text(text)
    with pytest.raises(FormatError, match="is no keystore"):
        open_keystore(keystore, PASSWORD)


def test_what_others_may_read_is_refused(keystore: Path) -> None:
    keystore.chmod(0o640)
    for read in (lambda: open_keystore(keystore, PASSWORD), lambda: read_password(keystore)):
        with pytest.raises(InputError, match="open to others"):
            read()


def test_a_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(0o600)
    with pytest.raises(InputError, match="holds no password"):
        read_password(path)
    path.write_text("correct horse\r\nmore\n")
    assert read_password(path) == PASSWORD


# external


SECRET = CountedEntropy().secret(32)
ADDRESS = signatures.address_of(SECRET)


def _command(answer: str) -> tuple[str, ...]:
    program = "import sys; from fedchain.core import signatures; digest = bytes.fromhex(sys.stdin.readline()); "
    return (sys.executable, "-c", program + answer)


def test_another_program_signs() -> None:
    signer = CommandSigner(ADDRESS, _command(f"print(signatures.sign(bytes.fromhex('{SECRET.hex()}'), digest).hex())"))
    assert signatures.recover(DIGEST, signer.sign(DIGEST)) == ADDRESS


def test_a_parity_in_place_of_v_is_understood() -> None:
    sign = f"s = signatures.sign(bytes.fromhex('{SECRET.hex()}'), digest); "
    signer = CommandSigner(ADDRESS, _command(sign + "print('0x' + s[:64].hex() + f'{s[64] - 27:02x}')"))
    assert signatures.recover(DIGEST, signer.sign(DIGEST)) == ADDRESS


def test_a_signature_of_another_key_is_found() -> None:
    other = _command("print(signatures.sign(b'\\x05' * 32, digest).hex())")
    with pytest.raises(InputError, match="signs with another key"):
        CommandSigner(ADDRESS, other).sign(DIGEST)


@pytest.mark.parametrize("answer", ["print()", "print('zz')", "print('00' * 65)", "print('11' * 64)"])
def test_what_is_no_signature_is_a_format_error(answer: str) -> None:
    with pytest.raises(FormatError):
        CommandSigner(ADDRESS, _command(answer)).sign(DIGEST)


def test_a_program_that_fails_or_hangs_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="exit 3: no device"):
        CommandSigner(ADDRESS, _command("sys.stderr.write('no device'); sys.exit(3)")).sign(DIGEST)
    with pytest.raises(UnreachableError, match="none within"):
        CommandSigner(ADDRESS, ("tail", "-f", "/dev/null"), timeout_s=0.1).sign(DIGEST)
    with pytest.raises(InputError, match="check the command"):
        CommandSigner(ADDRESS, ("no-such-program",)).sign(DIGEST)


VECTOR = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}
