"""Who may do what on a chain: roles that the two contracts give to addresses. Those of a log never change."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Protocol

from fedchain.ports.ledger import LedgerIdentity


class Role(enum.StrEnum):
    """The registry may have several operators and administrators; each other role has one holder at most."""

    OPERATOR = "operator"
    REGISTRY_ADMIN = "registry-admin"
    AGGREGATOR = "aggregator"
    GUARDIAN = "guardian"
    ROUNDS_ADMIN = "rounds-admin"


class Roles(Protocol):
    """Reads are of confirmed state; writes return the transaction's hash when confirmed.

    Every write raises RejectedTransactionError where the contracts refuse it to this sender, and UnreachableError where
    the ledger does not answer.
    """

    def identity(self) -> LedgerIdentity:
        """Return chain, contracts and federation."""
        ...

    def sender(self) -> bytes:
        """Return the address that writes."""
        ...

    def time(self) -> int:
        """Return the time of the ledger's newest block, in seconds since 1970."""
        ...

    def holders(self, role: Role) -> Sequence[bytes]:
        """Return who holds a role, in the order in which they got it."""
        ...

    def successor(self) -> bytes | None:
        """Return who was named as the next administrator of the rounds and has not taken that role yet, or None."""
        ...

    def pausable_from(self) -> int:
        """Return from which second since 1970 on sealing may be paused again."""
        ...

    def grant(self, role: Role, address: bytes) -> bytes:
        """Give a role; where it has one holder, take it from that one.

        That of the rounds' administrator is only offered: its successor takes it by granting it to itself.
        """
        ...

    def revoke(self, role: Role, address: bytes) -> bytes:
        """Take a role away.

        The aggregator's goes to the sender, for somebody has to hold it; of the rounds' administrator only an offer can
        be taken back.
        """
        ...

    def pause(self, until: int) -> bytes:
        """As the guardian, have nothing sealed before a second since 1970, seven days ahead at most."""
        ...
