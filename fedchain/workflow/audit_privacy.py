"""Privacy, recomputed: the losses that the signed parameters add up to, against what was claimed and granted.

A claim may exceed the recomputed loss (attempts that died were charged too) and may never fall below it. The loss of
the run is recomputed after every update, the total over the dataset's lifetime at the last one of each run and at the
highest; between them totals are only seen never to decrease within a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedchain.core.errors import InputError
from fedchain.core.privacy import epsilon_of
from fedchain.ports.training import Accountant
from fedchain.workflow.audit_report import Report
from fedchain.workflow.audit_round import AuditedRound, AuditedUpdate
from fedchain.workflow.spending import Claim, by_total, shortfall


def audit_privacy(rounds: Sequence[AuditedRound], accountant: Accountant, report: Report) -> None:
    """Check every dataset's claims, in ledger order."""
    by_dataset: dict[bytes, list[AuditedUpdate]] = {}
    for audited in rounds:
        for update in audited.updates:
            by_dataset.setdefault(update.member.dataset, []).append(update)
    for updates in by_dataset.values():
        claims = [Claim.of(each.update.header) for each in updates]
        _audit_runs(updates, claims, accountant, report)
        _audit_lifetime(updates, claims, accountant, report)
        for claim in claims:
            report.holds("privacy" if claim.release.is_protected else "unprotected")


def _audit_runs(
    updates: Sequence[AuditedUpdate], claims: Sequence[Claim], accountant: Accountant, report: Report
) -> None:
    by_run: dict[bytes, list[Claim]] = {}
    for update, claim in zip(updates, claims, strict=True):
        of_run = by_run.setdefault(claim.run, [])
        highest = max((each.micro_epsilon_total for each in of_run), default=0)
        if claim.micro_epsilon_total < highest:
            _fails(report, update, f"at least {epsilon_of(highest):g} in all", claim.micro_epsilon_total)
        of_run.append(claim)
        _recompute(update, of_run, claim.run_micro_epsilon, accountant, report)


def _audit_lifetime(
    updates: Sequence[AuditedUpdate], claims: Sequence[Claim], accountant: Accountant, report: Report
) -> None:
    """Recompute totals in the order that they claim; a shortfall is the update's that was recorded last among them."""
    order, short = by_total(claims), set[int]()
    last_of_run = {claim.run: place for place, claim in enumerate(claims)}
    for rank, place in enumerate(order):
        covered = order[: rank + 1]
        culprit = max(covered)
        if culprit in short or (place not in last_of_run.values() and place != order[-1]):
            continue
        total = claims[place].micro_epsilon_total
        if not _recompute(updates[culprit], [claims[each] for each in covered], total, accountant, report):
            short.add(culprit)


def _recompute(
    update: AuditedUpdate, claims: Sequence[Claim], claimed: int, accountant: Accountant, report: Report
) -> bool:
    """Tell whether the claimed loss covers the recomputed one, which is a finding of the update otherwise."""
    try:
        spent = shortfall(claims, claimed, update.policy.delta_e12, accountant)
    except InputError as error:
        _fails(report, update, f"parameters that an accountant knows: {error}", claimed)
        return False
    if spent is not None:
        _fails(report, update, f"at least {spent.epsilon:g} ({spent.accountant})", claimed)
    return spent is None


def _fails(report: Report, update: AuditedUpdate, expected: str, claimed: int) -> None:
    got = f"epsilon {epsilon_of(claimed):g} claimed by 0x{update.signer.hex()}"
    report.fails("privacy", run=update.run, round_=update.round, expected=expected, got=got)
