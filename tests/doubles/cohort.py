"""A cohort that calls its sites directly, and lets a test alter, multiply, drop or delay replies on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from fedchain.core import document
from fedchain.core.errors import FedchainError
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.cohort import ReceiptReply, Reply
from fedchain.workflow.site import Site

Tamper = Callable[[Task, Reply], Iterable[Reply]]
Alter = Callable[[RoundProof, ReceiptReply], Iterable[ReceiptReply]]


def untouched(_task: Task, reply: Reply) -> Iterable[Reply]:
    """Hand the reply on as it is."""
    return [reply]


def unaltered(_proof: RoundProof, reply: ReceiptReply) -> Iterable[ReceiptReply]:
    """Hand the receipt on as it is."""
    return [reply]


@dataclass(slots=True)
class DirectCohort:
    """Node i is `sites[i - 1]`. `order` names the nodes in the order in which they answer; the others are silent.

    `proofs` are the round proofs that nodes were asked to sign, `refusals` what a site said to a promise.
    """

    sites: Sequence[Site]
    tamper: Tamper = untouched
    alter: Alter = unaltered
    order: Sequence[int] | None = None
    late_replies: list[Reply] = field(default_factory=list[Reply])
    refusals: list[str] = field(default_factory=list[str])
    proofs: list[tuple[int, RoundProof]] = field(default_factory=list[tuple[int, RoundProof]])

    def train(self, task: Task, model: bytes, answered: frozenset[int]) -> Iterator[Sequence[Reply]]:
        yield list(self.late())
        for node in range(1, len(self.sites) + 1) if self.order is None else self.order:
            if node not in answered:
                yield list(self.tamper(task, self._ask(node, task, model)))

    def late(self) -> Iterator[Reply]:
        while self.late_replies:
            yield self.late_replies.pop(0)

    def promise(self, node: int, promise: SignedPromise) -> None:
        try:
            self.sites[node - 1].accept_promise(promise)
        except FedchainError as error:
            self.refusals.append(str(error))

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        for node, proof in proofs:
            self.proofs.append((node, proof))
            yield list(self.alter(proof, self._receipt(node, proof)))

    def _receipt(self, node: int, proof: RoundProof) -> ReceiptReply:
        site = self.sites[node - 1]
        try:
            return ReceiptReply(node, proof.round, site.device.address, site.countersign(proof), "")
        except FedchainError as error:
            return ReceiptReply(node, proof.round, b"", b"", str(error))

    def _ask(self, node: int, task: Task, model: bytes) -> Reply:
        try:
            signed = self.sites[node - 1].contribute(task, model)
        except FedchainError as error:
            return Reply(node, task.round, b"", b"", str(error))
        return Reply(node, task.round, document.to_bytes(signed.header), signed.payload, "")
