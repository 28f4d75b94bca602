"""Outcomes as the collaborators of the verbs would return them."""

from __future__ import annotations

import io
from dataclasses import replace

from fedchain.cli.screen import Screen
from fedchain.core.lineage import Claim, ClaimLevel, Contribution, Finding, Lineage, LineageRound, Verdict
from fedchain.core.messages import UNBOUNDED
from fedchain.workflow.summary import PlanSummary, PrivacySummary, RejectionSummary, RewardSummary, RunRow, RunSummary

RUN = "ab" * 32
OTHER_RUN = "cd" * 32
CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"
HOSTILE = "clinic\x1b[2J\x1b]0;owned\x07\n\u202egnp.exe\u2028\u200b[bold]"

PRIVACY = PrivacySummary(
    client="cleveland",
    micro_epsilon=7_654_321,
    micro_epsilon_total=9_000_001,
    delta_e12=10**7,
    unit="example",
    mechanism="poisson-subsampled-gaussian",
    noise_multiplier_e6=812_500,
    batches_per_epoch=13,
    steps=65,
    accountant="prv",
    grant="sandbox",
    micro_epsilon_grant=8_000_000,
)
UNPROTECTED = replace(
    PRIVACY,
    client="hungary",
    micro_epsilon=UNBOUNDED,
    micro_epsilon_total=UNBOUNDED,
    mechanism="none",
    noise_multiplier_e6=0,
)
SUMMARY = RunSummary(
    run="0x" + RUN,
    federation="0x" + "fe" * 32,
    mode="simulation",
    rounds=5,
    is_resumed=False,
    model_cid=CID,
    model_digest="0x" + "12" * 32,
    ledger_head="0x" + "34" * 32,
    metrics={
        "cleveland": {"auroc": 0.8765, "accuracy": 0.75, "rows": 104.0},
        "switzerland": {"accuracy": 0.9, "auroc": float("nan"), "rows": 16.0},
        "overall": {"auroc": 0.871, "accuracy": 0.8, "rows": 120.0},
    },
    privacy=(PRIVACY,),
    rejections=(RejectionSummary(2, "node 7", 6, "a float array of NaN"),),
    rewards=(RewardSummary("cleveland", 3_000_001, 20),),
    seconds=12.3456,
    payload_encryption="none",
    trust_file=".fedchain/trust.json",
)
PLAN = PlanSummary("heart", "0x" + "56" * 32, 5, 14, (PRIVACY,))


def row(run: str = RUN, **changes: object) -> RunRow:
    made = RunRow(
        run=run,
        experiment="heart",
        state="finished",
        rounds_ended=5,
        rounds=5,
        model_cid=CID,
        config='{"privacy":{"epsilon":"8.0"},"rounds":5,"seed":1}',
        created_at=1_800_000_000,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # a test changes what it names


CONTRIBUTION = Contribution(
    client="aa" * 20,
    organisation="bb" * 32,
    dataset="cc" * 32,
    weight=303,
    micro_epsilon_total=9_000_001,
    run_micro_epsilon=7_654_321,
)


def link(run: str, number: int, kind: str = "sealed", model: str = "") -> LineageRound:
    return LineageRound(
        run=run,
        round=number,
        kind=kind,
        round_hash=f"{number:02x}" * 32,
        transaction="ee" * 32,
        base_model="00" * 32,
        model_digest=model or f"{run[:2]}{number:02x}" * 16,
        model_cid=f"{CID[:-2]}{run[:1]}{number}",
        contributions=(CONTRIBUTION,) if kind == "sealed" else (),
        rejections=("6: a float array of NaN",) if number == 2 else (),
    )


CLAIMS = (
    Claim("model", ClaimLevel.REDERIVED, "global models recomputed from the stored updates", 3),
    Claim("privacy", ClaimLevel.REDERIVED, "privacy totals recomputed", 9),
    Claim("chain", ClaimLevel.ANCHORED, "links whose hash was recomputed", 4),
    Claim("update", ClaimLevel.SIGNED, "updates signed by a valid key", 12),
    Claim("data", ClaimLevel.SELF_REPORTED, "that the sites trained on the data they registered", 0),
)
FINDING = Finding(RUN, 2, "model", ClaimLevel.REDERIVED, "0x" + "11" * 32, "0x" + "22" * 32)


def lineage(verdict: Verdict, *, findings: tuple[Finding, ...] = (), pinned: tuple[str, ...] = ()) -> Lineage:
    rounds = (
        link(OTHER_RUN, 1),
        link(RUN, 1),
        link(RUN, 2),
        link(RUN, 3),
        link(RUN, 4, "closed", model=link(RUN, 3).model_digest),
    )
    return Lineage(verdict, rounds, CLAIMS, findings, pinned)


def screen(*, as_json: bool = False) -> tuple[Screen, io.StringIO, io.StringIO]:
    """A screen with its two streams."""
    out, err = io.StringIO(), io.StringIO()
    return Screen(out, err, as_json), out, err
