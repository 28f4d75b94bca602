"""Privacy, recomputed: the losses that the signed parameters add up to, against what was claimed and granted.

A claim may exceed the recomputed loss (attempts that died were charged too) and may never fall below it. The loss of
the run is recomputed after every update, the total over the dataset's lifetime after the last one of each run; between
them totals are only seen never to decrease.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fedchain.core.errors import InputError
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO, Release, epsilon_of, merged, micro_epsilon
from fedchain.ports.training import Accountant
from fedchain.workflow.audit_report import Report
from fedchain.workflow.audit_round import AuditedRound, AuditedUpdate

TOLERANCE: Final = 2 * MICRO // 100
"""Micro-epsilon by which two machines' numerical accountants may differ (the accountant's own error bound)."""


def audit_privacy(rounds: Sequence[AuditedRound], accountant: Accountant, report: Report) -> None:
    """Check every dataset's claims, in ledger order."""
    by_dataset: dict[bytes, list[AuditedUpdate]] = {}
    for audited in rounds:
        for update in audited.updates:
            by_dataset.setdefault(update.member.dataset, []).append(update)
    for updates in by_dataset.values():
        _audit_dataset(updates, accountant, report)


def _audit_dataset(updates: Sequence[AuditedUpdate], accountant: Accountant, report: Report) -> None:
    highest = 0
    releases: list[Release] = []
    by_run: dict[bytes, list[Release]] = {}
    last_of_run = {each.run: each for each in updates}
    for each in updates:
        total = each.update.header.message.micro_epsilon_total
        if total < highest:
            _fails(report, each, f"at least {epsilon_of(highest):g} in all", total)
        highest = max(highest, total)
        release = each.update.header.dp.release
        releases.append(release)
        by_run.setdefault(each.run, []).append(release)
        _recompute(each, by_run[each.run], each.update.header.dp.run_micro_epsilon, accountant, report)
        if last_of_run[each.run] is each:
            _recompute(each, releases, total, accountant, report)
        report.holds("privacy" if release.is_protected else "unprotected")


def _recompute(
    update: AuditedUpdate, releases: Sequence[Release], claimed: int, accountant: Accountant, report: Report
) -> None:
    if claimed == UNBOUNDED:
        return
    try:
        spent = accountant.spent(merged(releases), update.policy.delta_e12 / 1e12)
    except InputError as error:
        _fails(report, update, f"parameters that an accountant knows: {error}", claimed)
        return
    least = micro_epsilon(spent.epsilon)
    if claimed + TOLERANCE < least:
        _fails(report, update, f"at least {spent.epsilon:g} ({spent.accountant})", claimed)


def _fails(report: Report, update: AuditedUpdate, expected: str, claimed: int) -> None:
    got = f"epsilon {epsilon_of(claimed):g} claimed by 0x{update.signer.hex()}"
    report.fails("privacy", run=update.run, round_=update.round, expected=expected, got=got)
