"""The roles in memory, with the rules of the two contracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from eth_hash.auto import keccak

from fedchain.core.errors import RejectedTransactionError
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.roles import Role
from fedchain.workflow.roles import MAX_PAUSE_S


@dataclass(slots=True)
class MemoryAuthority:
    """What every sender writes to."""

    identity: LedgerIdentity
    clock: Clock
    holders: dict[Role, list[bytes]]
    successor: bytes | None = None
    paused_until: int = 0
    pausable_from: int = 0
    time: int = 0
    sent: list[str] = field(default_factory=list[str])

    def transact(self, what: str) -> bytes:
        """Return the hash of the next transaction."""
        self.sent.append(what)
        self.time = max(self.clock.now(), self.time)
        return keccak(f"{what} {len(self.sent)}".encode())


class MemoryRoles:
    """The Roles port as one sender."""

    def __init__(self, authority: MemoryAuthority, sender: bytes) -> None:
        self._authority = authority
        self._sender = sender

    def identity(self) -> LedgerIdentity:
        return self._authority.identity

    def sender(self) -> bytes:
        return self._sender

    def time(self) -> int:
        return self._authority.time

    def holders(self, role: Role) -> Sequence[bytes]:
        return list(self._authority.holders[role])

    def successor(self) -> bytes | None:
        return self._authority.successor

    def pausable_from(self) -> int:
        return self._authority.pausable_from

    def grant(self, role: Role, address: bytes) -> bytes:
        authority = self._authority
        takes = role is Role.ROUNDS_ADMIN and address == self._sender == authority.successor
        self._require(takes or self._may_change(role))
        if role in (Role.OPERATOR, Role.REGISTRY_ADMIN):
            if address not in authority.holders[role]:
                authority.holders[role].append(address)
        elif role is Role.ROUNDS_ADMIN and not takes:
            authority.successor = address
        else:
            authority.holders[role] = [address]
            authority.successor = None if takes else authority.successor
        return authority.transact(f"grant {role}")

    def revoke(self, role: Role, address: bytes) -> bytes:
        authority = self._authority
        self._require(self._may_change(role))
        match role:
            case Role.OPERATOR | Role.REGISTRY_ADMIN:
                authority.holders[role] = [each for each in authority.holders[role] if each != address]
            case Role.AGGREGATOR:
                authority.holders[role] = [self._sender]
            case Role.GUARDIAN:
                authority.holders[role] = []
            case Role.ROUNDS_ADMIN:
                authority.successor = None
        return authority.transact(f"revoke {role}")

    def pause(self, until: int) -> bytes:
        authority, now = self._authority, self._authority.clock.now()
        self._require(self._sender in authority.holders[Role.GUARDIAN])
        self._require(now >= authority.pausable_from and now < until <= now + MAX_PAUSE_S)
        authority.paused_until, authority.pausable_from = until, 2 * until - now
        return authority.transact("pause")

    def _may_change(self, role: Role) -> bool:
        is_registrys = role in (Role.OPERATOR, Role.REGISTRY_ADMIN)
        return self._sender in self._authority.holders[Role.REGISTRY_ADMIN if is_registrys else Role.ROUNDS_ADMIN]

    @staticmethod
    def _require(holds: bool) -> None:
        if not holds:
            raise RejectedTransactionError("refused")
