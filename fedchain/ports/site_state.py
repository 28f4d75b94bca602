"""What a site remembers of its datasets for ever: salts, charges, and the updates it has released."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.privacy import Release


class Evidence(enum.StrEnum):
    """What a site keeps of the others' words: inclusion promises, and the round hashes that it co-signed."""

    PROMISE = "promise"
    RECEIPT = "receipt"


@dataclass(frozen=True, slots=True)
class ChargeKey:
    """One attempt at one round of one run: charged once, released once."""

    run: bytes
    round: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Charge:
    """A durable charge against a dataset, with the lifetime and run totals in micro-epsilon after it."""

    key: ChargeKey
    dataset: bytes
    release: Release
    micro_epsilon_total: int
    run_micro_epsilon: int
    accountant: str


class SiteState(Protocol):
    """Shared by all runs on a site; `locked` serialises them across processes."""

    def locked(self) -> AbstractContextManager[None]:
        """Hold the site's exclusive lock, so that reading totals and charging is one step."""
        ...

    def charges(self, dataset: bytes) -> Sequence[Charge]:
        """Return every charge against a dataset, oldest first."""
        ...

    def charge(self, charge: Charge) -> None:
        """Record a charge durably (fsync) before it returns; the same key and charge twice is one charge.

        Raises:
            IntegrityError: if the key is taken by a different charge.
        """
        ...

    def released(self, key: ChargeKey) -> bytes | None:
        """Return the signed update persisted for an attempt, or None."""
        ...

    def released_start(self, key: ChargeKey, size: int) -> tuple[bytes, int] | None:
        """Return at most the first `size` bytes of the signed update, and how many it has; None if there is none."""
        ...

    def release(self, key: ChargeKey, update: bytes, control: bytes = b"") -> bytes:
        """Persist a signed update durably before it leaves the site; the first one stands, and is returned.

        In the same step the client's control after it is kept, unless it is empty.
        """
        ...

    def control(self, key: ChargeKey) -> bytes | None:
        """Return the client's control after a released attempt, or None."""
        ...

    def forget_controls(self, run: bytes, before: int) -> None:
        """Drop the controls of a run's rounds before one whose own is kept: nobody starts from them again."""
        ...

    def noise_multiplier(self, run: bytes, dataset: bytes) -> int | None:
        """Return the noise multiplier (1e-6) calibrated for a run, or None."""
        ...

    def set_noise_multiplier(self, run: bytes, dataset: bytes, noise_multiplier_e6: int) -> None:
        """Remember a run's calibrated noise multiplier; it never changes within the run.

        Raises:
            IntegrityError: if another one is remembered.
        """
        ...

    def keep(self, kind: Evidence, run: bytes, round_: int, data: bytes) -> None:
        """Keep what the aggregator signed or the site co-signed, durably.

        Raises:
            IntegrityError: if other bytes of this kind are kept for the round: somebody tells two stories.
        """
        ...

    def kept(self, kind: Evidence, run: bytes, round_: int) -> bytes | None:
        """Return what is kept of this kind for a round, or None."""
        ...
