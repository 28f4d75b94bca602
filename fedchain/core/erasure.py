"""Erasing payloads: what is to be erased, and the receipts that say so.

With exact aggregation the update of one client is the difference of two models less all the other updates. So a round
is erased as a whole, or at least `least_erased` of its updates are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

LEAST: Final = 2
"""Erased updates of a round below which one of them could be computed, whatever a run's smallest cohort is."""


@dataclass(frozen=True, slots=True)
class DeletionReceipt:
    """A reader's word: from the second `at` on I hold no key of this payload and no salt of its commitment.

    `reader` is the id of the reading key whose ring it was erased from (`core.encryption.key_id`).
    """

    TYPE: ClassVar[str] = (
        "DeletionReceipt(bytes32 federation,bytes32 run,uint64 round,bytes32 payloadCid,bytes32 reader,uint8 reason,"
        "uint64 at)"
    )
    federation: bytes
    run: bytes
    round: int
    payload_cid: bytes
    reader: bytes
    reason: int
    at: int


@dataclass(frozen=True, slots=True)
class SignedDeletion:
    """A deletion receipt with its signature and the address that made it."""

    receipt: DeletionReceipt
    signer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ErasedPayload:
    """A payload to be erased: its CID and its client's device address."""

    cid: str
    client: bytes


@dataclass(frozen=True, slots=True)
class ErasureOrder:
    """What is to be erased of one round; kept before anything is, so that a killed erasure is finished."""

    run: bytes
    round: int
    payloads: tuple[ErasedPayload, ...]
    reason: int
    at: int


def least_erased(min_clients: int) -> int:
    """Return how many updates of a round must be erased together, given the fewest that its run aggregates."""
    return max(LEAST, min_clients)
