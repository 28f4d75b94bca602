"""What is shown to the contracts of challenges: overspending, equivocations, and what became of a promise."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fedchain.core.messages import InclusionPromise, RoundReceipt
from fedchain.core.record import RejectedLeaf, UpdateLeaf
from fedchain.core.releases import LinkRecord
from fedchain.core.task import UpdateHeader


class PromiseState(enum.IntEnum):
    """What became of a promise that was challenged."""

    UNCHALLENGED = 0
    CHALLENGED = 1
    KEPT = 2
    REJECTED = 3
    EXCUSED = 4
    BROKEN = 5

    @property
    def words(self) -> str:
        """As it is shown."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Overspend:
    """An update in a sealed round whose total is above the grant (micro-epsilon), with its proof.

    `unit` is the preimage of the grant's unit; `proof` leads from the update's leaf to its link, `records` from that to
    the head of the run.
    """

    header: UpdateHeader
    signer: bytes
    payload_codec: int
    proof: tuple[bytes, ...]
    unit: str
    grant: int
    records: tuple[LinkRecord, ...]


@dataclass(frozen=True, slots=True)
class Equivocation:
    """Two hashes of one round with the signatures of one key."""

    signer: bytes
    one: RoundReceipt
    one_signature: bytes
    other: RoundReceipt
    other_signature: bytes


@dataclass(frozen=True, slots=True)
class Included:
    """A promised leaf stands in its round."""

    promise: InclusionPromise
    proof: tuple[bytes, ...]
    records: tuple[LinkRecord, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """A promised update was rejected: its leaf, the rejected leaf, and the reply as it came."""

    promise: InclusionPromise
    update: UpdateLeaf
    rejected: RejectedLeaf
    reply: bytes
    proof: tuple[bytes, ...]
    records: tuple[LinkRecord, ...]
