"""The clients of a round as the round machine sees them, whatever carries the messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.task import RoundProof, SignedPromise, Task


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back from a node: the bytes of an update header and a payload, or the error it reported.

    `round` is the round that the request belonged to; `node` is the transport's id and proves nothing. `keys` are the
    wrapped data keys of an encrypted payload.
    """

    node: int
    round: int
    header: bytes
    payload: bytes
    error: str
    keys: bytes = b""


@dataclass(frozen=True, slots=True)
class ReceiptReply:
    """A node's answer to a round's proof: the site's device address and its signature over the RoundReceipt."""

    node: int
    round: int
    signer: bytes
    signature: bytes
    error: str


class Cohort(Protocol):
    """Sends to every member and yields replies as they come, until all answered or the deadline passed.

    Replies that came at the same time come together, so that what they make durable can share a sync of the disk.
    """

    def train(self, task: Task, model: bytes, answered: frozenset[int]) -> Iterator[Sequence[Reply]]:
        """Send a task with the base model's bytes to every node that has not answered it already.

        Late replies of earlier rounds may be among the replies.
        """
        ...

    def late(self) -> Iterator[Reply]:
        """Yield replies that came after their round, without waiting."""
        ...

    def promise(self, node: int, promise: SignedPromise) -> None:
        """Hand a node the aggregator's signed inclusion promise."""
        ...

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        """Send nodes their proofs of inclusion, of one round or several, and yield the receipts; wait once for all."""
        ...
