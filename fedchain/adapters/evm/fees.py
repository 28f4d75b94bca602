"""What a transaction may cost: EIP-1559 fees under a cap, and the raise that replaces a stuck transaction.

A sender pays `base fee + tip` per gas, at most `max_fee`; the base fee moves by at most 1/8 a block
(https://eips.ethereum.org/EIPS/eip-1559), so twice the base fee is enough for five full blocks in a row. Nodes take a
replacement of the same nonce only if both fees rise by a tenth (geth's default, `--txpool.pricebump 10`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LEAST_BUMP_PERCENT: Final = 10


@dataclass(frozen=True, slots=True)
class Fees:
    """Wei per gas: the most that is paid in all, and the part that goes to the block's maker."""

    max_fee: int
    tip: int


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """Wei per gas: `cap` is never passed, whatever a node says; `max_tip` bounds what it may suggest as tip."""

    cap: int = 500 * 10**9
    max_tip: int = 50 * 10**9
    bump_percent: int = 12

    def __post_init__(self) -> None:
        if self.bump_percent < LEAST_BUMP_PERCENT:
            raise ValueError(f"nodes refuse a replacement below {LEAST_BUMP_PERCENT}%, got {self.bump_percent}%")
        if not 0 <= self.max_tip <= self.cap:
            raise ValueError(f"expected 0 <= max_tip <= cap, got {self.max_tip} and {self.cap}")

    def offer(self, base_fee: int, suggested_tip: int) -> Fees | None:
        """Return the fees of a new transaction; None while the market is above the cap."""
        tip = min(max(suggested_tip, 0), self.max_tip)
        if base_fee + tip > self.cap:
            return None
        return Fees(min(self.cap, 2 * base_fee + tip), tip)

    def replacement(self, last: Fees, base_fee: int, suggested_tip: int) -> Fees | None:
        """Return the fees that replace a stuck transaction; None if the raise that nodes ask for would pass the cap."""
        market = self.offer(base_fee, suggested_tip)
        if market is None:
            return None
        fees = Fees(max(market.max_fee, self._raised(last.max_fee)), max(market.tip, self._raised(last.tip)))
        return None if fees.max_fee > self.cap else fees

    def _raised(self, fee: int) -> int:
        return fee + max(1, -(-fee * self.bump_percent // 100))
