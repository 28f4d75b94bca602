"""The commands of whoever runs a federation: contracts are deployed once, roles given and taken, each told before."""

from __future__ import annotations

import io
import json
import shutil
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import embedded_node, places
from fedchain.adapters.evm.events import REGISTRY
from fedchain.adapters.evm.opening import open_chain
from fedchain.adapters.files import make_folder
from fedchain.adapters.home import create_home, open_home
from fedchain.adapters.system import SystemClock
from fedchain.cli.contracts import deploy
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.cli.screen import Screen
from fedchain.config import LedgerConfig
from fedchain.core.errors import InputError
from fedchain.wiring.founding import found
from fedchain.wiring.ledger_mark import mark_of
from fedchain.wiring.nodes import node_config
from fedchain.wiring.parties import federation_terms, parties_of, read_ledger
from tests.doubles.anvil import FUNDS, anvil
from tests.doubles.evm import CHAIN_ID as NODE_ID
from tests.scenarios.genuine import CHAIN_ID, SMALL, run_quietly

A = "0x" + "aa" * 20


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    """Run a verb with --json; return its code, its document and what it said."""
    code = main(["ledger", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out), said.err


@pytest.fixture(scope="module")
def deployed_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("deployed") / "home"
    found(home, replace(SMALL, rewards=replace(SMALL.rewards, mode="off")), lambda _: None)
    return home


@pytest.fixture
def home(deployed_home: Path, tmp_path: Path) -> Path:
    return shutil.copytree(deployed_home, tmp_path / "home")


# deploying


def test_contracts_are_told_then_deployed_once_and_found_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, names = tmp_path / "home", ["FedRegistry", "RoundLedger", "RewardVault"]
    code, first, said = told(capsys, "deploy", "rewards=donated", "--home", home)
    parties = parties_of(open_home(home))
    assert (code, first["chain_id"], list(first["contracts"])) == (Exit.DONE, CHAIN_ID, names)
    assert all(each["deployed"] for each in first["contracts"].values())
    for name in names:
        (line,) = (line for line in said.splitlines() if f"put {name} " in line)
        assert first["contracts"][name]["address"] in line
        assert f"0x{parties.operator.address.hex()}" in line
    assert [(name, first["contracts"][name]["address"]) for name in names[:2]] == [
        (name, "0x" + address.hex()) for name, address in places(parties.deployer.address)
    ]
    code, second, said = told(capsys, "deploy", "rewards=donated", "--home", home)
    assert (code, said) == (Exit.DONE, "")
    assert second["contracts"] == {name: each | {"deployed": False} for name, each in first["contracts"].items()}


@pytest.mark.slow
def test_a_run_uses_what_was_deployed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    deployed = found(home, SMALL, lambda _: None)
    run_quietly(SMALL, home)
    assert main(["rewards", "propose", "--home", str(home)]) == Exit.DONE
    with read_ledger(open_home(home)) as ledger:
        identity = ledger.identity()
    vault = json.loads((home / "chain" / "vault.json").read_text())["contract"]
    assert [each.address for each in deployed.contracts] == [
        identity.registry_contract, identity.rounds_contract, bytes.fromhex(vault[2:]),
    ]  # fmt: skip


def test_a_deployment_that_was_cut_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = create_home(tmp_path / "home")
    parties, clock = parties_of(home), SystemClock()
    make_folder(home.chain.parent)
    with closing(open_chain(home.chain, Genesis(CHAIN_ID, clock.now(), parties.addresses()), clock)) as chain:
        node, terms = embedded_node(chain), federation_terms(CHAIN_ID, parties)
        node.send(parties.deployer, REGISTRY, REGISTRY.creation(terms.federation, terms.operator), None)
    assert mark_of(home) is None
    code, document, said = told(capsys, "deploy", "rewards=off", "--home", home.root)
    assert code == Exit.DONE
    assert {name: each["deployed"] for name, each in document["contracts"].items()} == {
        "FedRegistry": False, "RoundLedger": True,
    }  # fmt: skip
    assert "put FedRegistry" not in said
    assert mark_of(home) is not None


def test_nothing_is_deployed_without_a_yes(tmp_path: Path) -> None:
    home, said = tmp_path / "home", io.StringIO()
    screen = Screen(io.StringIO(), said, False)
    with pytest.raises(InputError, match="nothing was signed"):
        deploy(screen, io.StringIO("n\n"), lambda announce: found(home, SMALL, announce))
    assert "Sign and send?" in said.getvalue()
    assert mark_of(open_home(home)) is None
    assert deploy(screen, io.StringIO("yes\n"), lambda announce: found(home, SMALL, announce)) == Exit.DONE


def test_a_log_has_no_contracts_and_no_roles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, _ = told(capsys, "deploy", "ledger=log", "--home", tmp_path / "home")
    assert (code, "contracts need a chain" in document["errors"][0]["message"]) == (Exit.INPUT, True)
    code, document, _ = told(capsys, "grant", "operator", A, "--home", tmp_path / "home")
    assert (code, "no ledger yet" in document["errors"][0]["message"]) == (Exit.INPUT, True)


def test_another_vault_is_refused_before_anything_is_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    told(capsys, "deploy", "rewards=donated", "--home", home)
    code, document, said = told(capsys, "deploy", "rewards=donated", "rewards.asset=native", "--home", home)
    assert (code, "other terms" in document["errors"][0]["message"]) == (Exit.INPUT, True)
    assert "about to" not in said


@pytest.mark.slow
def test_contracts_are_deployed_on_a_node_once_there_are_coins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    with anvil(tmp_path) as chain:
        chosen = ["ledger=rpc", f"ledger.chain_id={NODE_ID}", f"ledger.node.endpoints=[{chain.url}]"]
        command = ["deploy", *chosen, "ledger.node.poll_ms=50", "rewards=donated", "--home", home]
        code, document, said = told(capsys, *command)
        assert (code, "about to" in said) == (Exit.INPUT, False)
        assert all(role in document["errors"][0]["message"] for role in ("(deployer)", "(operator)"))
        for each in parties_of(open_home(home)).addresses():
            chain.ask("anvil_setBalance", "0x" + each.hex(), FUNDS)
        code, first, _ = told(capsys, *command)
        assert (code, len(first["contracts"])) == (Exit.DONE, 3)
        blocks = chain.block()
        code, second, _ = told(capsys, *command)
        assert (code, chain.block()) == (Exit.DONE, blocks)
        assert not any(each["deployed"] for each in second["contracts"].values())
        assert told(capsys, "grant", "guardian", A, "--home", home)[0] == Exit.DONE
        code, status, _ = told(capsys, "status", "--home", home)
        assert (code, status["roles"]["guardian"]) == (Exit.DONE, [A])
        with pytest.raises(InputError, match=r"expected ledger\.chain_id"):
            found(home, replace(SMALL, ledger=LedgerConfig("rpc", 5, node_config(open_home(home)))), lambda _: None)


# roles


def test_a_role_is_given_and_taken_and_shown(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operator = "0x" + parties_of(open_home(home)).operator.address.hex()
    code, document, said = told(capsys, "grant", "operator", A, "--home", home)
    (sent,) = document["sent"]
    assert (code, sent["act"], sent["role"], sent["address"], sent["key"]) == (0, "grant", "operator", A, operator)
    assert f"about to sign with the operator's key {operator}" in said
    assert sent["words"] in said
    assert told(capsys, "grant", "operator", A, "--home", home)[1] == {"sent": [], "exit": 0}
    assert told(capsys, "status", "--home", home)[1]["roles"]["operator"] == [operator, A]
    assert told(capsys, "revoke", "operator", A, "--home", home)[1]["sent"][0]["act"] == "revoke"
    assert told(capsys, "status", "--home", home)[1]["roles"]["operator"] == [operator]


def test_a_stolen_aggregators_key_is_replaced(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parties = parties_of(open_home(home))
    before = told(capsys, "status", "--home", home)[1]
    assert told(capsys, "revoke", "aggregator", "aggregator", "--home", home)[0] == Exit.DONE
    between = told(capsys, "status", "--home", home)[1]
    assert between["aggregator"] == "0x" + parties.operator.address.hex()
    assert told(capsys, "grant", "aggregator", A, "--home", home)[0] == Exit.DONE
    after = told(capsys, "status", "--home", home)[1]
    assert (after["aggregator"], after["fence"]) == (A, before["fence"] + 2)


def test_a_pause_is_told_with_its_end_and_is_not_repeated(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, document, _ = told(capsys, "pause", "3600", "--home", home)
    (sent,) = document["sent"]
    assert (code, sent["act"]) == (Exit.DONE, "pause")
    assert told(capsys, "status", "--home", home)[1]["paused_until"] == sent["until"]
    assert told(capsys, "pause", "60", "--home", home)[0] == Exit.POLICY


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["grant", "operator", "0x12"], Exit.INPUT),
        (["grant", "operator", "0x" + "00" * 20], Exit.INPUT),
        (["grant", "king", A], Exit.INPUT),
        (["revoke", "registry-admin", "operator"], Exit.POLICY),
        (["pause", "soon"], Exit.INPUT),
        (["pause", "604801"], Exit.INPUT),
    ],
)
def test_what_is_wrong_is_one_line(
    home: Path, arguments: list[str], code: Exit, capsys: pytest.CaptureFixture[str]
) -> None:
    found_code, document, said = told(capsys, *arguments, "--home", home)
    assert (found_code, len(document["errors"])) == (code, 1)
    assert len(said.splitlines()) == 1


def test_a_change_is_told_in_words_and_asked_for(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["ledger", "grant", "guardian", A, "--home", str(home)]) == Exit.DONE
    said = capsys.readouterr()
    assert "Done: give" in said.out
    assert main(["ledger", "grant", "guardian", A, "--home", str(home)]) == Exit.DONE
    assert "Nothing to do" in capsys.readouterr().out
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))  # no terminal: nobody is asked
    assert main(["ledger", "revoke", "guardian", A, "--home", str(home)]) == Exit.DONE
