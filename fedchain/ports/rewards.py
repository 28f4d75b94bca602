"""The vault that pays: a cumulative Merkle drop, whose roots can be disputed before they pay."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class AssetKind(enum.IntEnum):
    """What a vault pays in; credits are counted in the vault itself and never transferred."""

    CREDITS = 0
    NATIVE = 1
    ERC20 = 2


@dataclass(frozen=True, slots=True)
class VaultTerms:
    """What a vault is made with and never changes. `asset` is the token's address, zero for the other kinds.

    The distributor proposes roots, the guardian may dispute them for `dispute_window_s` seconds.
    """

    federation: bytes
    distributor: bytes
    guardian: bytes
    asset: bytes
    asset_kind: AssetKind
    dispute_window_s: int


@dataclass(frozen=True, slots=True)
class VaultIdentity:
    """One vault; its chain and address stand in every leaf that it pays."""

    chain_id: int
    contract: bytes
    terms: VaultTerms


@dataclass(frozen=True, slots=True)
class Proposal:
    """A root with the sum of its leaves and the digest of its report's CID; from `claimable_at` on it can be final."""

    root: bytes
    total: int
    report: bytes
    claimable_at: int


class RewardVault(Protocol):
    """Reads are of confirmed state; writes return the transaction's hash when confirmed.

    Every write raises RejectedTransactionError where the vault's rules refuse it, and UnreachableError where the
    ledger does not answer.
    """

    def identity(self) -> VaultIdentity:
        """Return chain, address and terms."""
        ...

    def time(self) -> int:
        """Return the time of the ledger's newest block, in seconds since 1970; windows are judged by the next one's."""
        ...

    def root(self) -> bytes:
        """Return the root that pays, zero before the first."""
        ...

    def total(self) -> int:
        """Return the sum of the leaves under the root that pays."""
        ...

    def funded(self) -> int:
        """Return all that was ever put into the vault; credits need none."""
        ...

    def pending(self) -> Proposal | None:
        """Return the root that waits for the end of its window, or None."""
        ...

    def proposals(self) -> Sequence[Proposal]:
        """Return every root that was ever proposed, oldest first."""
        ...

    def claimed(self, account: bytes) -> int:
        """Return all that an account was paid."""
        ...

    def purse(self) -> int:
        """Return what the sender holds of what the vault pays in; of credits nobody holds any."""
        ...

    def allowed(self) -> int:
        """Return how much the vault may take of the sender's tokens; coins are sent along and need no allowance."""
        ...

    def allow(self, amount: int) -> bytes:
        """Let the vault take so many of the sender's tokens; this replaces the allowance before it."""
        ...

    def fund(self, amount: int) -> bytes:
        """Put coins, or tokens that the vault may take, into the vault; anyone may."""
        ...

    def propose(self, root: bytes, total: int, report: bytes) -> bytes:
        """Put up a root, as the distributor; one at a time, and never with a lower total than the last final one."""
        ...

    def dispute(self, root: bytes) -> bytes:
        """Cancel the pending root within its window, as the guardian."""
        ...

    def finalize(self) -> bytes:
        """Make the pending root the one that pays, after its window; anyone may."""
        ...

    def claim(self, account: bytes, cumulative: int, proof: Sequence[bytes]) -> bytes:
        """Pay an account what it has earned and not claimed; anyone may, for anyone."""
        ...
