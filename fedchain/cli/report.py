"""What a run tells at its end, as tables with their meaning and as a JSON document.

All of it is the run's own word: the report says so, and names the command that verifies it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fedchain.cli.display import ROWS
from fedchain.cli.screen import Screen
from fedchain.cli.text import delta_text, epsilon_number, epsilon_text, hex_id
from fedchain.cli.words import explained
from fedchain.core.encryption import NO_ENCRYPTION
from fedchain.core.privacy import MICRO, NO_MECHANISM, epsilon_of
from fedchain.workflow.summary import CheckpointSummary, PlanSummary, PrivacySummary, RunSummary

LEVEL: Final = "self-reported"
LEVEL_NOTE: Final = "this is the run's own report; the command under `verify` re-derives it and says what holds"
REWARDS_NOTE: Final = "earned in this run; `fedchain rewards` re-derives the balances of the federation and pays them"
NO_REWARDS_NOTE: Final = "this run pays no rewards"
DONATED: Final = "donated rows leave their hospital, readable for all who verify, and no hospital trains on its own"
METRICS_NOTE: Final = "simulation: computed on held-out splits"
UNPROTECTED: Final = "NO DIFFERENTIAL PRIVACY: the updates of this run bound nothing about the records behind them."
SELF_REPORTED: Final = "Self-reported: the use of real data and the adding of real noise are each hospital's own word."
SIMULATION: Final = "Simulation: all hospitals and all keys are on this machine, so their independence is simulated."
UNENCRYPTED: Final = "whoever reads the store can read each hospital's update and every model."
ENCRYPTED: Final = "each is for its own hospital, the aggregator, the verifiers and the reviewers"
REST: Final = "models, manifests and donated rows are for the last three"
DEBUG: Final = "DEBUG: a try-out of one small batch a hospital; its figures say nothing about quality."
CHOSEN: Final = "Best by test rows, which only a simulation has: on other rows expect less."
_PRIVACY_HEADER: Final = ("hospital", "epsilon", "delta", "unit", "noise", "lifetime epsilon", "grant")


def document(summary: RunSummary, verify: str) -> dict[str, object]:
    """Return the JSON document of a run; `verify` is the command that verifies it."""
    return {
        "run": hex_id(summary.run),
        "federation": hex_id(summary.federation),
        "mode": summary.mode,
        "resumed": summary.is_resumed,
        "rounds": summary.rounds,
        "ending": summary.ending,
        "initial_model": summary.initial,
        "debug": summary.is_debug,
        "model_cid": summary.model_cid,
        "model_digest": hex_id(summary.model_digest),
        "ledger_head": hex_id(summary.ledger_head),
        "metrics": {name: _finite(metrics) for name, metrics in summary.metrics.items()},
        "metrics_note": METRICS_NOTE if summary.mode == "simulation" else "",
        "checkpoints": {each.name: _checkpoint_document(each) for each in summary.checkpoints},
        "privacy": {each.client: privacy_document(each) for each in summary.privacy},
        "rejections": [
            {"round": each.round, "client": each.client, "code": each.code, "reason": each.reason}
            for each in summary.rejections
        ],
        "rewards": {
            each.client: {"earned": each.earned, "donated_rows": each.donated_rows, "level": LEVEL}
            for each in summary.rewards
        },
        "rewards_note": REWARDS_NOTE if summary.rewards else NO_REWARDS_NOTE,
        "payload_encryption": summary.payload_encryption,
        "trust_file": summary.trust_file,
        "verify": verify,
        "level": LEVEL,
        "level_note": LEVEL_NOTE,
        "seconds": round(summary.seconds, 3),
    }


def plan_document(plan: PlanSummary) -> dict[str, object]:
    """Return the JSON document of a dry run."""
    return {
        "dry_run": True,
        "debug": plan.is_debug,
        "experiment": plan.experiment,
        "config_digest": hex_id(plan.config_digest),
        "rounds": plan.rounds,
        "parameters": plan.parameters,
        "privacy": {each.client: privacy_document(each) for each in plan.privacy},
    }


def privacy_document(each: PrivacySummary) -> dict[str, object]:
    """Return one client's privacy; epsilon is null where no noise bounds the loss."""
    return {
        "epsilon": epsilon_number(each.micro_epsilon),
        "delta": each.delta_e12 / 10**12,
        "unit": each.unit,
        "mechanism": each.mechanism,
        "noise_multiplier": each.noise_multiplier_e6 / MICRO,
        "sample_rate": 1 / each.batches_per_epoch if each.batches_per_epoch else None,
        "steps": each.steps,
        "accountant": each.accountant,
        "epsilon_total": epsilon_number(each.micro_epsilon_total),
        "grant": each.grant,
        "epsilon_grant": epsilon_number(each.micro_epsilon_grant),
        "level": LEVEL,
    }


def show(screen: Screen, summary: RunSummary, verify: str) -> None:
    """Print the end of a run."""
    how = " (resumed after an interruption)" if summary.is_resumed else ""
    screen.line()
    screen.line(f"Run {hex_id(summary.run)} finished{how}: {summary.rounds} rounds in {summary.seconds:.1f} s")
    for line in filter(None, (DEBUG if summary.is_debug else "", _ending_text(summary), _initial_text(summary))):
        screen.line(line)
    screen.line()
    _show_metrics(screen, summary)
    _show_checkpoints(screen, summary)
    show_privacy(screen, "Privacy spent in this run, by hospital", summary.privacy)
    if summary.rejections:
        rows = [[str(each.round), each.client, str(each.code), each.reason] for each in summary.rejections]
        screen.table("Rejected replies", ["round", "client", "code", "reason"], rows)
    _show_rewards(screen, summary)
    _show_record(screen, summary, verify)
    _show_limits(screen, summary)


def show_plan(screen: Screen, plan: PlanSummary) -> None:
    """Print what a run would do and spend."""
    screen.line(f"Plan of experiment {plan.experiment}; nothing was run or spent.")
    if plan.is_debug:
        screen.line(DEBUG)
    screen.line(f"  {plan.rounds} rounds, {plan.parameters} parameters, configuration {hex_id(plan.config_digest)}")
    screen.line()
    show_privacy(screen, "Privacy it would spend, by hospital", plan.privacy)


def show_privacy(screen: Screen, title: str, rows: Sequence[PrivacySummary]) -> None:
    """Print the privacy table with the meaning of its numbers."""
    screen.table(f"{title} ({LEVEL})", _PRIVACY_HEADER, [_privacy_cells(each) for each in rows])
    for mechanism in sorted({each.mechanism for each in rows}):
        clients = ", ".join(each.client for each in rows if each.mechanism == mechanism)
        noise = "" if mechanism == NO_MECHANISM else "; noise is its standard deviation over the clipping norm"
        screen.line(f"mechanism of {clients}: {mechanism}{noise}.")
    if any(math.isinf(epsilon_of(each.micro_epsilon)) for each in rows):
        screen.line(UNPROTECTED)
    else:
        screen.line(explained("epsilon"))
        screen.line(explained("delta"))
    screen.line()


def verify_command(home: Path, trust: Path, *, is_default_home: bool) -> str:
    """Return the exact command that verifies a run in this home."""
    where = [] if is_default_home else ["--home", str(home)]
    return shlex.join(["fedchain", "verify", *where, "--trust", str(trust)])


def _show_metrics(screen: Screen, summary: RunSummary) -> None:
    found = {name for metrics in summary.metrics.values() for name in metrics}
    names = sorted(found, key=lambda name: (name == ROWS, name))
    clients = sorted(summary.metrics, key=lambda client: (client == "overall", client))
    rows = [[client, *(_metric(name, summary.metrics[client].get(name)) for name in names)] for client in clients]
    note = f" ({METRICS_NOTE})" if summary.mode == "simulation" else ""
    screen.table(f"Test metrics by hospital{note}", ["hospital", *names], rows)


def _ending_text(summary: RunSummary) -> str:
    return f"{summary.ending[:1].upper()}{summary.ending[1:]}" if summary.ending else ""


def _initial_text(summary: RunSummary) -> str:
    return f"Initial model imported from {summary.initial}" if summary.initial else ""


def _show_checkpoints(screen: Screen, summary: RunSummary) -> None:
    for each in summary.checkpoints:
        scored = "" if each.value is None else f", {each.metric} {each.value:.3f}"
        screen.line(f"{each.name.capitalize()} model, round {each.round}{scored}: {each.path}")
    if summary.checkpoints:
        screen.line(CHOSEN)
        screen.line()


def _checkpoint_document(each: CheckpointSummary) -> dict[str, object]:
    return {"file": each.path, "round": each.round, "metric": each.metric, "value": each.value}


def _show_rewards(screen: Screen, summary: RunSummary) -> None:
    if not summary.rewards:
        return
    rows = [[each.client, str(each.earned), str(each.donated_rows)] for each in summary.rewards]
    screen.table(f"Rewards by hospital ({LEVEL}: {REWARDS_NOTE})", ["hospital", "earned", "donated rows"], rows)


def _show_record(screen: Screen, summary: RunSummary, verify: str) -> None:
    for name, value in (
        ("CID", f"Model CID     {summary.model_cid}"),
        ("model digest", f"Model digest  {hex_id(summary.model_digest)}"),
        ("ledger head", f"Ledger head   {hex_id(summary.ledger_head)}"),
    ):
        screen.line(value)
        screen.line(f"    {explained(name)}")
    screen.line(f"Each round is sealed. {explained('seal')}")
    screen.line()
    screen.line(f"Verify it: {verify}")
    screen.line(f"    {explained('trust file')}")
    screen.line()


def _show_limits(screen: Screen, summary: RunSummary) -> None:
    screen.line("Before you rely on it")
    if summary.mode == "simulation":
        screen.line(f"  - {SIMULATION}")
    encryption = summary.payload_encryption
    if encryption == NO_ENCRYPTION:
        screen.line(f"  - Payloads unencrypted: {UNENCRYPTED}")
    else:
        screen.line(f"  - Payloads encrypted ({encryption}): {ENCRYPTED}; {REST}.")
    if any(each.mechanism == NO_MECHANISM for each in summary.privacy):
        screen.line(f"  - {UNPROTECTED}")
    if any(each.donated_rows for each in summary.rewards):
        screen.line(f"  - {DONATED[0].upper()}{DONATED[1:]}.")
    screen.line(f"  - {SELF_REPORTED}")
    screen.line("  - This report is the run's own word; the command above re-derives the record.")


def _privacy_cells(each: PrivacySummary) -> list[str]:
    scope = "a run" if each.grant == "sandbox" else "in all"
    return [
        each.client,
        epsilon_text(each.micro_epsilon),
        delta_text(each.delta_e12),
        each.unit,
        f"{each.noise_multiplier_e6 / MICRO:.3f}",
        epsilon_text(each.micro_epsilon_total),
        f"{epsilon_text(each.micro_epsilon_grant)} {scope} ({each.grant})",
    ]


def _metric(name: str, value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if name == ROWS else f"{value:.3f}"


def _finite(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if math.isfinite(value)}
