"""A reply in the making: it starts as a site's genuine answer, is changed, and is signed again."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest

from fedchain.adapters.payloads import PlainReader
from fedchain.core import document
from fedchain.core.cid import cid_of
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.envelope import Envelope
from fedchain.core.messages import ClientUpdate
from fedchain.core.privacy import DpParams
from fedchain.core.task import Task, UpdateHeader
from fedchain.core.tensors import IntTensors, decode
from fedchain.ports.cohort import Reply
from fedchain.ports.signer import Signer
from fedchain.workflow.gate import Gate
from fedchain.workflow.registry_view import RegistryView
from fedchain.workflow.spending import Spending
from tests.doubles.power import PowerCutError
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import Federation, Setup, Snapshot, federation

NODE = 3
"""Whose answer is changed: the last one's."""


@dataclass(slots=True)
class Draft:
    """A reply in the making; what is not set by hand is derived and signed in `reply`."""

    federation: Federation
    task: Task
    node: int
    signer: Signer
    domain: Domain
    message: ClientUpdate
    dp: DpParams
    envelope: Envelope
    state: Callable[[ClientUpdate], ClientUpdate] = lambda message: message
    """Changes the statement before it is signed, after all digests are in it."""
    forge: Callable[[UpdateHeader], UpdateHeader] = lambda header: header
    """Changes the statement after it was signed."""
    rewrite: Callable[[bytes], bytes] = lambda header: header
    """Changes the statement's bytes."""
    spoil: Callable[[bytes], bytes] = lambda payload: payload
    """Changes the payload after it was signed."""

    @classmethod
    def of(cls, federation: Federation, task: Task, reply: Reply) -> Draft:
        """Return a draft of the genuine reply of a node."""
        header = document.from_bytes(UpdateHeader, reply.header)
        domain = Domain(header.chain_id, header.rounds_contract)
        signer = federation.members[reply.node - 1].device
        envelope = Envelope.from_bytes(reply.payload)
        return cls(federation, task, reply.node, signer, domain, header.message, header.dp, envelope)

    @property
    def tensors(self) -> IntTensors:
        """The tensors of the update."""
        return decode(self.envelope.update)

    def carry(self, update: bytes) -> None:
        """Put other bytes in the update's place."""
        self.envelope = replace(self.envelope, update=update)

    def reply(self) -> Reply:
        """Return the draft, signed."""
        payload = self.envelope.to_bytes()
        message = self.state(
            replace(
                self.message,
                update_commit=self.envelope.commitment(),
                payload_cid=cid_of(payload).digest,
                dp_params=self.dp.digest(),
            )
        )
        signature = self.signer.sign(signing_digest(self.domain, message))
        header = self.forge(UpdateHeader(self.domain.chain_id, self.domain.contract, message, signature, self.dp))
        data = self.rewrite(document.to_bytes(header))
        return Reply(self.node, self.task.round, data, self.spoil(payload), "")


def safetensors(entries: Sequence[tuple[str, str, Sequence[int], bytes]], *, spaces: bool = False) -> bytes:
    """Return bytes in the safetensors format of (name, dtype, shape, data), in this order, duplicates included."""
    offset, parts = 0, list[str]()
    for name, dtype, shape, data in entries:
        item = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(f"{json.dumps(name)}:{json.dumps(item, separators=(',', ':'))}")
        offset += len(data)
    header = ("{ " if spaces else "{") + ",".join(parts) + "}"
    text = header.encode() + b" " * (-len(header.encode()) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(data for *_, data in entries)


def genuine(setup: Setup | None = None) -> Draft:
    """Return the draft of what the last site answers to the first task of a new federation."""
    draft, snapshot = _answer(setup or Setup())
    draft.federation.restore(snapshot)
    return copy.copy(draft)


@functools.cache
def _answer(setup: Setup) -> tuple[Draft, Snapshot]:
    new = federation(setup)
    drafts: list[Draft] = []

    def listen(task: Task, reply: Reply) -> list[Reply]:
        if reply.node < NODE:
            return []
        drafts.append(Draft.of(new, task, reply))
        raise PowerCutError

    new.cohort.tamper = listen
    with pytest.raises(PowerCutError):
        new.run()
    return drafts[0], new.snapshot()


def gate(draft: Draft) -> Gate:
    """Return the gate of the draft's task as things stand now."""
    new = draft.federation
    registry, spending = RegistryView(new.ledger).current(), Spending(AddingAccountant())
    return Gate(
        draft.task, new.plan.manifest, registry, new.plan.policies, spending, new.clock.now(), PlainReader(new.store)
    )
