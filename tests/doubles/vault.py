"""The vault in memory, with the rules of the contract and the purse of everyone whom it paid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from fedchain.core.digest import ZERO
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.merkle import proves
from fedchain.core.rewards import Balance, reward_leaf
from fedchain.ports.clock import Clock
from fedchain.ports.rewards import AssetKind, Proposal, VaultIdentity

_MOST = 2**128 - 1


@dataclass(slots=True)
class MemoryVault:
    """What every sender writes to."""

    identity: VaultIdentity
    clock: Clock
    root: bytes = ZERO
    total: int = 0
    funded: int = 0
    pending: Proposal | None = None
    proposals: list[Proposal] = field(default_factory=list[Proposal])
    claimed: dict[bytes, int] = field(default_factory=dict[bytes, int])
    transactions: int = 0
    time: int = 0
    """That of the newest block."""
    purses: dict[bytes, int] = field(default_factory=dict[bytes, int])
    allowed: dict[bytes, int] = field(default_factory=dict[bytes, int])

    def fund(self, amount: int) -> None:
        """Put coins in."""
        _require(self.identity.terms.asset_kind is not AssetKind.CREDITS and amount > 0, "credits take no coins")
        self.funded += amount

    @property
    def paid(self) -> int:
        """All that ever left the vault."""
        return sum(self.claimed.values())

    def mine(self) -> None:
        """Add a block."""
        self.time = max(self.clock.now(), self.time)

    def transact(self) -> bytes:
        """Return the hash of the next transaction."""
        self.transactions += 1
        self.mine()
        return keccak(b"vault transaction" + self.transactions.to_bytes(8))


class MemoryRewardVault:
    """The RewardVault port as one sender."""

    def __init__(self, vault: MemoryVault, sender: bytes) -> None:
        self._vault = vault
        self._sender = sender

    def identity(self) -> VaultIdentity:
        return self._vault.identity

    def time(self) -> int:
        return self._vault.time

    def root(self) -> bytes:
        return self._vault.root

    def total(self) -> int:
        return self._vault.total

    def funded(self) -> int:
        return self._vault.funded

    def pending(self) -> Proposal | None:
        return self._vault.pending

    def proposals(self) -> Sequence[Proposal]:
        return list(self._vault.proposals)

    def claimed(self, account: bytes) -> int:
        return self._vault.claimed.get(account, 0)

    def purse(self) -> int:
        return self._vault.purses.get(self._sender, 0)

    def allowed(self) -> int:
        return self._vault.allowed.get(self._sender, 0)

    def allow(self, amount: int) -> bytes:
        self._vault.allowed[self._sender] = amount
        return self._vault.transact()

    def fund(self, amount: int) -> bytes:
        vault, kind = self._vault, self._vault.identity.terms.asset_kind
        _require(amount <= self.purse(), "the sender holds too little")
        if kind is AssetKind.ERC20:
            _require(amount <= self.allowed(), "the vault may not take so much")
            vault.allowed[self._sender] -= amount
        vault.fund(amount)
        vault.purses[self._sender] -= amount
        return vault.transact()

    def propose(self, root: bytes, total: int, report: bytes) -> bytes:
        vault, terms = self._vault, self._vault.identity.terms
        _require(self._sender == terms.distributor, "the sender is not the distributor")
        _require(root != ZERO, "the root is zero")
        _require(vault.pending is None, "a root is pending")
        _require(total >= vault.total, "the total decreases")
        _require(total <= (_MOST if terms.asset_kind is AssetKind.CREDITS else vault.funded), "not funded")
        vault.pending = Proposal(root, total, report, vault.clock.now() + terms.dispute_window_s)
        vault.proposals.append(vault.pending)
        return vault.transact()

    def dispute(self, root: bytes) -> bytes:
        vault = self._vault
        _require(self._sender == vault.identity.terms.guardian, "the sender is not the guardian")
        _require(vault.pending is not None and vault.pending.root == root, "another root is pending, or none")
        _require(vault.pending is not None and vault.clock.now() < vault.pending.claimable_at, "the window is over")
        vault.pending = None
        return vault.transact()

    def finalize(self) -> bytes:
        vault = self._vault
        if vault.pending is None:
            raise RejectedTransactionError("refused: no root is pending")
        _require(vault.clock.now() >= vault.pending.claimable_at, "the window is open")
        vault.root, vault.total, vault.pending = vault.pending.root, vault.pending.total, None
        return vault.transact()

    def claim(self, account: bytes, cumulative: int, proof: Sequence[bytes]) -> bytes:
        vault, identity = self._vault, self._vault.identity
        leaf = reward_leaf(identity.chain_id, identity.contract, Balance(account, cumulative))
        _require(proves(vault.root, leaf, proof), "the proof does not lead to the root")
        _require(cumulative > self.claimed(account), "nothing to claim")
        _require(vault.paid + cumulative - self.claimed(account) <= vault.total, "more than the total")
        vault.claimed[account] = cumulative
        return vault.transact()


def _require(holds: bool, rule: str) -> None:
    if not holds:
        raise RejectedTransactionError(f"refused: {rule}")
