"""`fedchain rewards` tells what was earned with its level, and says each transaction in words before it is sent."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fedchain.cli.arguments import Pins
from fedchain.cli.exits import Exit
from fedchain.cli.rewards import RewardOptions, act, show, words
from fedchain.core.errors import PolicyError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.rewards import RewardHistory, RoundRewards, Share
from fedchain.ports.rewards import AssetKind, Proposal, VaultIdentity, VaultTerms
from fedchain.workflow.payments import Announce, Claim, Dispute, Done, Finalize, Order, Propose
from fedchain.workflow.summary import AccountSummary, PendingSummary, RewardOverview
from tests.cli import samples
from tests.cli.samples import FINDING, HOSTILE, screen

A, B = b"\xaa" * 20, b"\xbb" * 20
HISTORY = RewardHistory(
    1337, b"\x02" * 20, b"\xfe" * 32, "ranked-pairs/1",
    (
        RoundRewards(
            b"\xab" * 32, 1, b"\x01" * 32, b"\x05" * 32, 1000, 88, (Share(A, 7, 1000, 1000), Share(B, -2, 0, 0))
        ),
    ),
)  # fmt: skip
OVERVIEW = RewardOverview(
    lineage=samples.lineage(Verdict.VERIFIED, pinned=("run 0xab up to round 2",)),
    asset="credits",
    vault="0x" + "03" * 20,
    accounts=(
        AccountSummary("cleveland", "0x" + A.hex(), 1000, 600, 400),
        AccountSummary(HOSTILE, "0x" + B.hex(), 0, 0, 0),
    ),
    history=HISTORY,
    names={A: "cleveland"},
    final_rounds=1,
    pending=PendingSummary("0x" + "07" * 32, 1000, 1, 1_800_000_000),
    faults=(),
)
OPTIONS = RewardOptions(Path("home"), Pins((), None))
TERMS = VaultTerms(b"\xfe" * 32, A, B, bytes(20), AssetKind.CREDITS, 60)
VAULT = VaultIdentity(1337, b"\x03" * 20, TERMS)
CLAIM = Claim(VAULT, A, 600, 1000)


@dataclass(frozen=True)
class Rewards:
    """Stands in for the home: returns the overview it was made with."""

    outcome: RewardOverview

    def __call__(self, home: Path, *, heads: tuple[str, ...], trust: Path | None) -> RewardOverview:
        assert (home, heads, trust) == (Path("home"), (), None)
        return self.outcome


def told(outcome: RewardOverview) -> tuple[Exit, str]:
    shown, out, _ = screen()
    return show(OPTIONS, shown, Rewards(outcome)), out.getvalue()


def document(outcome: RewardOverview) -> dict[str, Any]:
    shown, out, _ = screen(as_json=True)
    code = show(OPTIONS, shown, Rewards(outcome))
    loaded: dict[str, Any] = json.loads(out.getvalue())
    assert loaded["exit"] == code
    return loaded


def with_lineage(lineage: Lineage) -> RewardOverview:
    return replace(OVERVIEW, lineage=lineage)


def test_balances_are_told_by_client_with_their_level() -> None:
    code, text = told(OVERVIEW)
    assert code is Exit.DONE
    for part in ("cleveland", "1000", "600", "400", "earned: re-derived", "claimed: anchored", "self-reported"):
        assert part in text
    assert "nobody can transfer" in text
    assert "can be disputed until 2027-01-15" in text
    assert "\x1b" not in text


def test_the_document_has_balances_scores_and_levels() -> None:
    found = document(OVERVIEW)
    assert found["verified"] is True
    assert found["rewards"]["cleveland"] == {
        "account": "0x" + A.hex(), "earned": 1000, "claimable": 600, "claimed": 400,
    }  # fmt: skip
    assert found["levels"]["earned"] == "re-derived"
    assert found["scores"][0]["shares"] == {
        "cleveland": {"score": 7, "pay": 1000, "cumulative": 1000},
        "0x" + B.hex(): {"score": -2, "pay": 0, "cumulative": 0},
    }
    assert found["pending"] == {"root": "0x" + "07" * 32, "total": 1000, "rounds": 1, "claimable_at": 1_800_000_000}
    assert found["report"] == HISTORY.report().cid().text


@pytest.mark.parametrize(
    ("lineage", "faults", "code"),
    [
        (samples.lineage(Verdict.VERIFIED), (), 0),
        (samples.lineage(Verdict.SELF_CONSISTENT), (), 3),
        (samples.lineage(Verdict.VERIFIED), ("the final root",), 1),
        (samples.lineage(Verdict.SELF_CONSISTENT), ("the final root",), 1),
        (samples.lineage(Verdict.FINDINGS, findings=(FINDING,)), (), 1),
    ],
)
def test_the_exit_code_is_the_verdict_or_1_for_a_vault_that_pays_something_else(
    lineage: Lineage, faults: tuple[str, ...], code: int
) -> None:
    outcome = replace(with_lineage(lineage), faults=faults)
    assert told(outcome)[0] == document(outcome)["exit"] == code
    assert all(fault in told(outcome)[1] for fault in faults)


def test_nothing_is_told_of_a_record_with_findings() -> None:
    _, text = told(with_lineage(samples.lineage(Verdict.FINDINGS, findings=(FINDING,))))
    assert "no reward is computed" in text
    assert "cleveland" not in text


def test_a_home_without_rewards_or_without_a_vault_says_so() -> None:
    nothing = replace(OVERVIEW, accounts=(), history=replace(HISTORY, rounds=()), vault="", pending=None, asset="")
    assert "rewards are off unless a run declares them" in told(nothing)[1]
    assert document(nothing)["report"] is None
    assert "none yet" in told(replace(OVERVIEW, vault="", pending=None))[1]


PENDING = Proposal(b"\x07" * 32, 1000, b"\x08" * 32, 1_800_000_000)
ORDERS: list[tuple[Order, str]] = [
    (Propose(VAULT, b"\x07" * 32, HISTORY.report()), "1000 in all"),
    (Finalize(VAULT, PENDING), "make the root"),
    (Dispute(VAULT, PENDING), "is not what the record gives"),
    (CLAIM, "pay 600"),
]


@pytest.mark.parametrize(("order", "part"), ORDERS)
def test_every_transaction_is_said_in_words_before_it_is_sent(order: Order, part: str) -> None:
    shown, out, err = screen()

    def do(_: Path, announce: Announce) -> list[Done]:
        announce(order)
        assert part in err.getvalue()
        assert not out.getvalue()
        return [Done(order, b"\x09" * 32)]

    assert act(Path("home"), shown, do) is Exit.DONE
    assert words(order) in out.getvalue()
    assert "0x" + "09" * 32 in out.getvalue()


@pytest.mark.parametrize("kind", list(AssetKind))
def test_the_words_name_what_is_paid(kind: AssetKind) -> None:
    vault = replace(VAULT, terms=replace(TERMS, asset_kind=kind))
    unit = {AssetKind.CREDITS: "credits", AssetKind.NATIVE: "coin", AssetKind.ERC20: "token"}[kind]
    assert unit in words(replace(CLAIM, vault=vault))


def test_the_document_of_an_act_has_what_was_sent() -> None:
    shown, out, _ = screen(as_json=True)
    act(Path("home"), shown, lambda _, __: [Done(CLAIM, b"\x09" * 32), Done(CLAIM, b"")])
    found = json.loads(out.getvalue())
    assert [each["act"] for each in found["sent"]] == ["claim", "claim"]
    assert [each["transaction"] for each in found["sent"]] == ["0x" + "09" * 32, None]


def test_an_act_with_nothing_to_do_says_so_and_is_no_failure() -> None:
    shown, out, _ = screen()
    assert act(Path("home"), shown, lambda _, __: []) is Exit.DONE
    assert "Nothing to do" in out.getvalue()


def test_a_refusal_reaches_the_outermost_edge() -> None:
    def refuse(_: Path, __: Announce) -> list[Done]:
        raise PolicyError("the dispute window is open")

    with pytest.raises(PolicyError):
        act(Path("home"), screen()[0], refuse)
