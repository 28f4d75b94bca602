"""An exported chain is executed again by an implementation that is not ours, and an altered one is found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.export import export_chain
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.core.digest import ZERO
from fedchain.core.record import LinkKind, RoundLink
from tests.doubles.clock import ManualClock
from tests.doubles.evm import AGGREGATOR, EVERYBODY, OPERATOR, SITE, deployed

SCRIPT = Path(__file__).parents[2] / "scripts" / "reexecute.py"
LINK = RoundLink(b"\x04" * 32, 1, LinkKind.SEALED, b"\x11" * 32, ZERO, b"\x13" * 32, b"\x14" * 32, b"\x15" * 32, 4, 0)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], str]:
    """The lines of a chain with both contracts, an organisation and two links; and its head."""
    with deployed(tmp_path_factory.mktemp("chain") / "chain.sqlite", ManualClock()) as contracts:
        EvmRegistry(contracts.node, contracts.identity, OPERATOR).add_organisation(b"\x01" * 32, SITE.address)
        ledger = EvmLedger(contracts.node, contracts.identity, AGGREGATOR)
        first = ledger.seal(LINK, ZERO)
        ledger.seal(replace(LINK, round=2), first.round_hash)
        lines = list(export_chain(contracts.chain, [each.address for each in EVERYBODY]))
        return lines, "0x" + contracts.chain.head().hash.hex()


def executed(lines: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "chain.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return subprocess.run([sys.executable, str(SCRIPT), str(path)], capture_output=True, text=True, check=False)


def test_an_export_says_how_the_chain_begins_and_holds_every_block(exported: tuple[list[str], str]) -> None:
    first, *blocks = map(json.loads, exported[0])
    assert set(first) == {"chain_id", "header", "accounts"}
    assert set(first["accounts"]) == {each.address.hex() for each in EVERYBODY}
    assert [set(each) for each in blocks] == [{"block"}] * 5


@pytest.mark.slow
def test_the_specifications_come_to_the_same_head(exported: tuple[list[str], str], tmp_path: Path) -> None:
    lines, head = exported
    done = executed(lines, tmp_path)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["blocks"], answer["head"]) == (len(lines) - 1, head)


def richer(lines: list[str]) -> list[str]:
    return [lines[0].replace('"1000000', '"2000000', 1), *lines[1:]]


def poorer(lines: list[str]) -> list[str]:
    first = json.loads(lines[0])
    first["accounts"].popitem()
    return [json.dumps(first), *lines[1:]]


def other_transaction(lines: list[str]) -> list[str]:
    """Put another model into the last link: the signature is another's then."""
    return [*lines[:-1], lines[-1].replace("14" * 32, "1f" * 32)]


def without_a_block(lines: list[str]) -> list[str]:
    return [*lines[:3], *lines[4:]]


@pytest.mark.slow
@pytest.mark.parametrize("alter", [richer, poorer, other_transaction, without_a_block])
def test_what_was_altered_is_named_by_its_block(
    alter: Callable[[list[str]], list[str]], exported: tuple[list[str], str], tmp_path: Path
) -> None:
    altered = alter(exported[0])
    assert altered != exported[0]
    done = executed(altered, tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("block ")


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
