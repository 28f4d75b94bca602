"""The append-only record: who may take part (the registry) and what each round became (the links)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from fedchain.core.eip712 import Domain
from fedchain.core.messages import RegistryMessage
from fedchain.core.record import RoundLink


@dataclass(frozen=True, slots=True)
class LedgerIdentity:
    """The two contracts, or what stands for them, and the federation that they serve.

    Registry messages are signed in the domain `registry`, round messages in the domain `rounds`.
    """

    chain_id: int
    registry_contract: bytes
    rounds_contract: bytes
    federation: bytes

    @property
    def registry(self) -> Domain:
        """The EIP-712 domain of registry messages."""
        return Domain(self.chain_id, self.registry_contract)

    @property
    def rounds(self) -> Domain:
        """The EIP-712 domain of round messages."""
        return Domain(self.chain_id, self.rounds_contract)


@dataclass(frozen=True, slots=True)
class RegistryEvent:
    """A registry action as recorded, with the block time in seconds that entered the registry head.

    `signature` is the one that authorised the message; it is empty where the admin or the operator sent it directly.
    """

    message: RegistryMessage
    signature: bytes
    at: int
    transaction: bytes


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """A link as recorded, with the hash that the ledger computed and the previous hash that it checked."""

    link: RoundLink
    round_hash: bytes
    previous_hash: bytes
    at: int
    transaction: bytes


LedgerEvent: TypeAlias = RegistryEvent | LinkEvent


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a link stands on the ledger."""

    round_hash: bytes
    transaction: bytes


class Ledger(Protocol):
    """Reads are of confirmed state; writes return when confirmed."""

    def identity(self) -> LedgerIdentity:
        """Return chain, contracts and federation."""
        ...

    def events(self) -> Sequence[LedgerEvent]:
        """Return every event of registry and rounds, in ledger order."""
        ...

    def registry_head(self) -> bytes:
        """Return the registry's rolling hash (32 bytes) as the ledger keeps it."""
        ...

    def head_slot(self, run: bytes) -> bytes:
        """Return the run's storage slot (`core.record.head_slot`), zero for a run without links."""
        ...

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        """Return the link of a round, or None."""
        ...

    def check_lead(self) -> None:
        """Check that this key may seal: asked before anything is promised that only a seal can keep.

        Raises:
            RejectedTransactionError: if it is not the aggregator's, or another one with the same key has taken over.
            UnreachableError: if the ledger does not answer.
        """
        ...

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        """Record a link after `previous_hash` (zero for round 1).

        Sealing the same link twice returns the first seal.

        Raises:
            RejectedTransactionError: if the round is taken by another link, the previous hash is not the head, the
                run is closed, or this key is not the aggregator's.
            UnreachableError: if the ledger does not answer.
        """
        ...


class Registry(Protocol):
    """Writing to the registry; the authority is in the message's signature, so anyone may relay."""

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        """As the operator, add an organisation with its admin address; return the transaction hash."""
        ...

    def submit(self, message: RegistryMessage, signature: bytes) -> bytes:
        """Relay a signed registry message; return the transaction hash.

        Raises:
            RejectedTransactionError: if the contract refuses it (foreign signature, nonce, rule).
        """
        ...

    def nonce(self, organisation: bytes) -> int:
        """Return the next nonce of an organisation."""
        ...
