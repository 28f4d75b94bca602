"""What a dataset's updates claim to have spent, against what their signed parameters add up to.

A site charges one update after the other, so its lifetime totals never fall in the order of its charges; several runs
may record them in another order. Sorted by their totals, each total must cover all releases up to it: if any order of
charges explains the claims, this one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fedchain.core import document
from fedchain.core.cid import DAG_PB, RAW, Cid
from fedchain.core.errors import InputError
from fedchain.core.manifest import RoundManifest
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import MICRO, Release, merged, micro_epsilon
from fedchain.core.record import LinkKind, RoundLink
from fedchain.core.task import UpdateHeader
from fedchain.ports.ledger import Ledger, LinkEvent
from fedchain.ports.store import ArtifactStore
from fedchain.ports.training import Accountant, Spent

TOLERANCE: Final = 2 * MICRO // 100
"""Micro-epsilon by which two machines' numerical accountants may differ (the accountant's own error bound)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What one update claims, in micro-epsilon: the loss of its run so far, and of the dataset's lifetime."""

    run: bytes
    release: Release
    run_micro_epsilon: int
    micro_epsilon_total: int

    @classmethod
    def of(cls, header: UpdateHeader) -> Claim:
        """Return the claim of a signed statement."""
        message = header.message
        return cls(message.run, header.dp.release, header.dp.run_micro_epsilon, message.micro_epsilon_total)


def shortfall(claims: Sequence[Claim], claimed: int, delta_e12: int, accountant: Accountant) -> Spent | None:
    """Return what the releases of the claims cost together if that is more than was claimed, else None.

    Raises:
        InputError: if their parameters are none that the accountant knows.
    """
    if claimed == UNBOUNDED:
        return None
    spent = accountant.spent(merged(each.release for each in claims), delta_e12 / 1e12)
    return spent if claimed + TOLERANCE < micro_epsilon(spent.epsilon) else None


def by_total(claims: Sequence[Claim]) -> list[int]:
    """Return the places of claims in the order of their totals, equal ones as they were recorded."""
    return sorted(range(len(claims)), key=lambda place: claims[place].micro_epsilon_total)


@dataclass(slots=True)
class Spending:
    """The claims that are on record, by dataset, in their order; what a new one must cover."""

    accountant: Accountant
    _claims: dict[bytes, list[Claim]] = field(default_factory=dict[bytes, list[Claim]])

    def record(self, header: UpdateHeader) -> None:
        """Add an accepted update's claim."""
        self._claims.setdefault(header.message.dataset, []).append(Claim.of(header))

    def is_understated(self, header: UpdateHeader, delta_e12: int) -> bool:
        """Tell whether one more update claims less than it and the recorded ones of its dataset add up to."""
        new = Claim.of(header)
        claims = [*self._claims.get(header.message.dataset, ()), new]
        of_run = [each for each in claims if each.run == new.run]
        if max(each.micro_epsilon_total for each in of_run) > new.micro_epsilon_total:
            return True
        order = by_total(claims)
        try:
            return shortfall(of_run, new.run_micro_epsilon, delta_e12, self.accountant) is not None or any(
                shortfall(
                    [claims[each] for each in order[: place + 1]],
                    claims[order[place]].micro_epsilon_total, delta_e12, self.accountant,
                )
                for place in range(order.index(len(claims) - 1), len(order))
            )  # fmt: skip
        except InputError:  # parameters that no accountant knows bound nothing
            return True


def recorded_spending(ledger: Ledger, store: ArtifactStore, run: bytes, accountant: Accountant) -> Spending:
    """Return what the sealed rounds of all other runs say; a manifest that this store does not have says nothing.

    Raises:
        IntegrityError: if a manifest is damaged.
    """
    spending = Spending(accountant)
    for event in ledger.events():
        if isinstance(event, LinkEvent) and event.link.kind is LinkKind.SEALED and event.link.run != run:
            for header in _accepted(event.link, store):
                spending.record(header)
    return spending


def _accepted(link: RoundLink, store: ArtifactStore) -> list[UpdateHeader]:
    for codec in (RAW, DAG_PB):
        cid = Cid(codec, link.manifest_digest)
        if store.has(cid):
            manifest = document.from_bytes(RoundManifest, store.get(cid))
            return [each.header for each in manifest.accepted]
    return []
