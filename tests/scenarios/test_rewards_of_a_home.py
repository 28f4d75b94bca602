"""A whole home: a run that pays, the vault on its chain, and everything asked for twice or interrupted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import Home
from fedchain.config import RewardsConfig
from fedchain.core.errors import InputError, IntegrityError, PolicyError
from fedchain.core.lineage import Verdict
from fedchain.wiring.erasure import erase
from fedchain.wiring.rewards import claim, dispute, finalize, overview, propose
from fedchain.workflow.erasing import EraseRequest
from fedchain.workflow.payments import Claim, Order
from tests.scenarios.genuine import SMALL, run_quietly

pytestmark = pytest.mark.slow
PAID = replace(SMALL, rewards=RewardsConfig("donated", 1000, "credits", None, 1))


def say_nothing(_: Order) -> None:
    """Nobody listens."""


def total(home: Path) -> tuple[int, int, int]:
    accounts = overview(home, heads=(), trust=None).accounts
    return (
        sum(each.earned for each in accounts), sum(each.claimable for each in accounts),
        sum(each.claimed for each in accounts),
    )  # fmt: skip


def make_final(home: Path) -> None:
    """Wait for the window, which is one second of the wall clock, by asking until it is over."""
    while True:
        try:
            finalize(home, say_nothing)
        except PolicyError:
            continue
        return


def test_a_home_pays_what_its_record_gives_once(tmp_path: Path) -> None:
    home = tmp_path
    run_quietly(PAID, home)
    before = overview(home, heads=(), trust=Home(home).trust)
    assert before.lineage.verdict is Verdict.VERIFIED
    assert (before.vault, before.pending) == ("", None)
    earned, _, _ = total(home)
    assert earned > 0
    with pytest.raises(InputError, match="no vault yet"):
        finalize(home, say_nothing)
    (proposed,) = propose(home, say_nothing)
    assert proposed.transaction
    assert propose(home, say_nothing) == ()
    make_final(home)
    assert total(home) == (earned, earned, 0)
    first = next(each for each in overview(home, heads=(), trust=None).accounts if each.earned)
    (paid,) = claim(home, say_nothing, first.client)
    assert isinstance(paid.order, Claim)
    assert paid.order.amount == first.earned
    assert claim(home, say_nothing, first.account) == ()
    claim(home, say_nothing, None)
    assert total(home) == (earned, 0, earned)
    assert claim(home, say_nothing, None) == finalize(home, say_nothing) == dispute(home, say_nothing) == ()
    with pytest.raises(InputError, match="--account"):
        claim(home, say_nothing, "nobody")


def test_a_vault_whose_deployment_was_interrupted_is_found_again(tmp_path: Path) -> None:
    run_quietly(PAID, tmp_path)
    propose(tmp_path, say_nothing)
    vault = overview(tmp_path, heads=(), trust=None).vault
    (Home(tmp_path).chain.parent / "vault.json").unlink()
    assert propose(tmp_path, say_nothing) == ()
    assert overview(tmp_path, heads=(), trust=None).vault == vault


def test_a_second_run_adds_to_the_balances_and_wants_the_same_vault(tmp_path: Path) -> None:
    run_quietly(PAID, tmp_path)
    propose(tmp_path, say_nothing)
    make_final(tmp_path)
    claim(tmp_path, say_nothing, None)
    earned, _, claimed = total(tmp_path)
    run_quietly(replace(PAID, seed=2), tmp_path)
    more, _, still = total(tmp_path)
    assert (more > earned, still) == (True, claimed)
    propose(tmp_path, say_nothing)
    make_final(tmp_path)
    claim(tmp_path, say_nothing, None)
    assert total(tmp_path) == (more, 0, more)
    run_quietly(replace(PAID, rewards=replace(PAID.rewards, dispute_window_s=7)), tmp_path)
    with pytest.raises(InputError, match="paid by one vault"):
        propose(tmp_path, say_nothing)


def test_an_erased_round_pays_what_was_final_and_else_nothing(tmp_path: Path) -> None:
    run = run_quietly(PAID, tmp_path).hex()
    propose(tmp_path, say_nothing)
    make_final(tmp_path)
    earned, _, _ = total(tmp_path)
    erase(tmp_path, EraseRequest(run, (1,), (), 0))
    found = overview(tmp_path, heads=(), trust=Home(tmp_path).trust)
    assert (found.lineage.verdict, found.faults) == (Verdict.ANCHORED, ())
    assert total(tmp_path) == (earned, earned, 0)
    (words,) = found.settled
    assert "pays what the final root's report says" in words
    claim(tmp_path, say_nothing, None)
    assert total(tmp_path) == (earned, 0, earned)
    other = run_quietly(replace(PAID, seed=2), tmp_path).hex()
    more, _, _ = total(tmp_path)
    erase(tmp_path, EraseRequest(other, (1, 2), (), 0))
    assert total(tmp_path) == (earned, 0, earned) < (more, 0, 0)
    assert sum("pays nothing" in each for each in overview(tmp_path, heads=(), trust=None).settled) == 2


def test_a_home_without_rewards_has_nothing_to_propose(tmp_path: Path) -> None:
    run_quietly(replace(SMALL, rewards=replace(SMALL.rewards, mode="off")), tmp_path)
    assert overview(tmp_path, heads=(), trust=None).accounts == ()
    with pytest.raises(InputError, match="no run of this home pays"):
        propose(tmp_path, say_nothing)


def test_nothing_is_paid_from_a_record_with_findings(tmp_path: Path) -> None:
    run_quietly(PAID, tmp_path)
    for path in _payloads(tmp_path):
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    found = overview(tmp_path, heads=(), trust=None)
    assert found.lineage.verdict is Verdict.FINDINGS
    assert found.accounts == ()
    with pytest.raises(IntegrityError, match="nothing is paid"):
        propose(tmp_path, say_nothing)


def _payloads(home: Path) -> Iterator[Path]:
    for path in Home(home).store.rglob("*"):
        if path.is_file() and path.read_bytes().startswith(b"FCENV"):
            yield path
