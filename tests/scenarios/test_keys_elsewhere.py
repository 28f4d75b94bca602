"""Keys that lie in no plain file of the home: a keystore, another program, a process that signs transactions."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.http_endpoint import HttpEndpoint
from fedchain.adapters.evm.keystore import make_keystore
from fedchain.adapters.evm.node_signer import NodeSigner
from fedchain.adapters.home import Home, create_home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.config import ExperimentConfig, LedgerConfig, NodeConfig
from fedchain.core import signatures
from fedchain.core.errors import FormatError, InputError, UnreachableError
from fedchain.wiring.founding import found
from fedchain.wiring.parties import parties_of
from tests.doubles.anvil import FUNDS, Anvil, anvil
from tests.doubles.clock import CountedEntropy
from tests.doubles.evm import CHAIN_ID
from tests.doubles.rpc_proxy import result, rpc_proxy
from tests.scenarios.genuine import SMALL, run_quietly

DIGEST = b"\x42" * 32
PASSWORD = "correct horse"
SECRET = CountedEntropy(b"command").secret(32)
PROGRAM = (
    "import sys; from fedchain.core import signatures; digest = bytes.fromhex(sys.stdin.readline()); "
    f"print(signatures.sign(bytes.fromhex('{SECRET.hex()}'), digest).hex())"
)
FIELDS: list[int | bytes | list[bytes]] = [CHAIN_ID, 0, 1, 2 * 10**9, 21_000, b"\x07" * 20, 5, b"", []]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return create_home(tmp_path / "home")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(0o600)
    path.write_text(PASSWORD + "\n")
    return path


def keystore(home: Home) -> bytes:
    """Make a keystore in the home; return its address."""
    return make_keystore(home.root / "aggregator.json", PASSWORD, CountedEntropy(), scrypt_n=2**10).address


def settings(chain: Anvil) -> ExperimentConfig:
    node = NodeConfig(
        endpoints=(chain.url,), quorum=1, confirmations=1, buried_after=64, first_block=0, patience_s=60,
        send_timeout_s=60, poll_ms=50, resend_after_s=1, stuck_after_s=3, max_fee_gwei=500, max_tip_gwei=50,
    )  # fmt: skip
    return replace(SMALL, ledger=LedgerConfig("rpc", CHAIN_ID, node))


# what the file says


def test_a_keystore_is_opened_by_a_file_a_variable_or_a_credential(
    home: Home, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = keystore(home)
    for line in (f'password_file = "{password}"', 'password_variable = "PASSWORD_OF"', 'credential = "password"'):
        home.signers.write_text(f'[aggregator]\nkeystore = "aggregator.json"\n{line}\n')
        monkeypatch.delenv("PASSWORD_OF", raising=False)
        monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
        signer = parties_of(home).aggregator
        assert signer.address == address  # without a password
        if "file" not in line:
            with pytest.raises(InputError, match=r"no password in|no credential"):
                signer.sign(DIGEST)
        monkeypatch.setenv("PASSWORD_OF", PASSWORD)
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password.parent))
        assert signatures.recover(DIGEST, signer.sign(DIGEST)) == address
    assert not (home.keys / "aggregator").exists()
    assert (home.keys / "operator").exists()


def test_a_credential_may_have_the_mode_that_systemd_gives_it(
    home: Home, password: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keystore(home)
    home.signers.write_text('[aggregator]\nkeystore = "aggregator.json"\ncredential = "password"\n')
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(password.parent))
    password.chmod(0o440)
    parties_of(home).aggregator.sign(DIGEST)
    home.signers.write_text(f'[aggregator]\nkeystore = "aggregator.json"\npassword_file = "{password}"\n')
    with pytest.raises(InputError, match="open to others"):
        parties_of(home).aggregator.sign(DIGEST)


A = "0x" + "11" * 20


@pytest.mark.parametrize(
    "text",
    [
        "[aggregator",
        "[king]\n",
        "aggregator = 1\n",
        "[aggregator]\n",
        '[aggregator]\nkeystore = "a.json"\n',
        '[aggregator]\nkeystore = "missing.json"\npassword_variable = "X"\n',
        '[aggregator]\nkeystore = 1\npassword_variable = "X"\n',
        '[operator]\nurl = "http://127.0.0.1:1"\n',
        f'[operator]\nurl = "ftp://127.0.0.1:1"\naddress = "{A}"\n',
        '[operator]\nurl = "http://127.0.0.1:1"\naddress = "0x12"\n',
        f'[aggregator]\nurl = "http://127.0.0.1:1"\naddress = "{A}"\n',
        f'[deployer]\ncommand = "sign"\naddress = "{A}"\n',
        f'[deployer]\ncommand = []\naddress = "{A}"\n',
        f'[deployer]\ncommand = ["sign"]\naddress = "{A}"\nurl = "http://127.0.0.1:1"\n',
    ],
)
def test_a_file_that_says_anything_else_is_one_line(home: Home, text: str) -> None:
    home.signers.write_text(text)
    with pytest.raises(InputError) as refused:
        parties_of(home)
    assert "\n" not in str(refused.value)


def test_a_program_deploys_on_the_embedded_chain(home: Home) -> None:
    command = json.dumps([sys.executable, "-c", PROGRAM])
    address = signatures.address_of(SECRET)
    home.signers.write_text(f'[deployer]\ncommand = {command}\naddress = "0x{address.hex()}"\n')
    found(home.root, SMALL, lambda _: None)
    assert not (home.keys / "deployer").exists()


# a process that signs transactions


@pytest.mark.slow
def test_a_whole_run_has_no_key_of_its_operators_in_plain(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = json.dumps([sys.executable, "-c", PROGRAM])
    monkeypatch.setenv("PASSWORD_OF", PASSWORD)
    keystore(home)
    with anvil(tmp_path) as chain:
        operator = chain.ask("eth_accounts")[0]
        home.signers.write_text(
            f'[deployer]\ncommand = {command}\naddress = "0x{signatures.address_of(SECRET).hex()}"\n'
            f'[operator]\nurl = "{chain.url}"\naddress = "{operator}"\n'
            '[aggregator]\nkeystore = "aggregator.json"\npassword_variable = "PASSWORD_OF"\n'
        )
        for address in parties_of(home).addresses():
            chain.ask("anvil_setBalance", "0x" + address.hex(), FUNDS)
        run_quietly(settings(chain), home.root)
        where = ["--home", str(home.root)]
        assert main(["rewards", "propose", *where]) == Exit.DONE
        monkeypatch.delenv("PASSWORD_OF")
        assert main(["verify", "--trust", str(home.trust), *where]) == Exit.DONE
        assert main(["ledger", "status", *where]) == Exit.DONE
    assert not {"deployer", "operator", "aggregator"} & {each.name for each in home.keys.iterdir()}


@pytest.mark.slow
def test_what_a_signing_process_answers_is_checked(tmp_path: Path) -> None:
    with anvil(tmp_path) as chain, rpc_proxy(chain.url) as proxy:
        address = bytes.fromhex(chain.ask("eth_accounts")[0][2:])
        chain.ask("anvil_setBalance", "0x" + address.hex(), FUNDS)
        signer = NodeSigner(address, HttpEndpoint.parse(proxy.url), timeout_s=10)
        assert len(signer.sign_transaction(FIELDS)) == 65
        signed = chain.ask("eth_signTransaction", {
            "from": "0x" + address.hex(), "to": A, "gas": "0x5208", "nonce": "0x0", "value": "0x5", "type": "0x2",
            "maxFeePerGas": "0x77359400", "maxPriorityFeePerGas": "0x1", "chainId": hex(CHAIN_ID),
        })  # fmt: skip
        for answer, error in ((signed, "another transaction"), ("0x02c0", "a signed transaction"), (None, "a signed")):
            proxy.changes["eth_signTransaction"] = result(answer)
            with pytest.raises(FormatError, match=error):
                signer.sign_transaction(FIELDS)
        proxy.changes.clear()
        stranger = replace(signer, address=b"\x09" * 20)
        with pytest.raises(InputError, match="refused"):
            stranger.sign_transaction(FIELDS)
        with pytest.raises(InputError, match="signs transactions only"):
            signer.sign(DIGEST)
        proxy.is_down = True
        with pytest.raises(UnreachableError, match="does not answer"):
            signer.sign_transaction(FIELDS)
