"""What all jobs of a sweep together would cost a dataset, against its grant, before any of them is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.core.errors import PolicyError
from fedchain.core.messages import UNBOUNDED
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.privacy import Release, epsilon_of, merged, micro_epsilon
from fedchain.ports.training import Accountant
from fedchain.workflow.summary import SweepSiteSummary


@dataclass(frozen=True, slots=True)
class Demand:
    """What one job still asks of a dataset, and what its whole run costs alone (micro-epsilon)."""

    release: Release
    run_micro_epsilon: int


def price_sweep(
    name: str, policy: DataPolicy, earlier: Sequence[Release], demands: Sequence[Demand], accountant: Accountant
) -> SweepSiteSummary:
    """Compose all that is charged already with all that the jobs still ask for."""
    delta = policy.delta_e12 / 1e12
    asked = [each.release for each in demands if each.release.steps > 0]
    return SweepSiteSummary(
        client=name,
        jobs=len(demands),
        micro_epsilon_run=max((each.run_micro_epsilon for each in demands), default=0),
        micro_epsilon_charged=micro_epsilon(accountant.spent(merged(earlier), delta).epsilon),
        micro_epsilon_total=micro_epsilon(accountant.spent(merged([*earlier, *asked]), delta).epsilon),
        delta_e12=policy.delta_e12,
        unit=policy.unit,
        grant=policy.grant.value,
        micro_epsilon_grant=policy.micro_epsilon_grant,
        allows_unprotected=policy.allows_unprotected,
    )


def grant_refusal(site: SweepSiteSummary) -> PolicyError | None:
    """Return why a site's grant does not allow the sweep, or None."""
    is_sandbox = site.grant == GrantKind.SANDBOX.value
    needed = site.micro_epsilon_run if is_sandbox else site.micro_epsilon_total
    if site.jobs == 0 or (needed == UNBOUNDED and site.allows_unprotected) or needed <= site.micro_epsilon_grant:
        return None
    charged = f", {epsilon_of(site.micro_epsilon_charged):.4f} of it charged before" * bool(site.micro_epsilon_charged)
    return PolicyError(
        f"the sweep would pass the privacy grant of {site.client}",
        expected=f"epsilon at most {epsilon_of(site.micro_epsilon_grant):g} "
        + ("in one run" if is_sandbox else "over the dataset's lifetime"),
        got=f"{epsilon_of(needed):.4f} needed by "
        + ("one of its jobs" if is_sandbox else f"its {site.jobs} jobs{charged}"),
        remedy="sweep fewer configurations, lower privacy.epsilon, or ask the site for a new grant",
    )
