"""The Cohort port over a Flower Grid: push messages, pull replies as they come, until the deadline.

A reply that comes after its round is yielded in a later one, with the round it belongs to. Dead nodes' errors carry a
wrong source, so replies are attributed by the message they answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from fedchain.core import document
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.clock import Clock
from fedchain.ports.cohort import ReceiptReply, Reply

RECORD: Final = "fedchain"
POLL_S: Final = 0.2
COUNTERSIGN_S: Final = 60
AT_ONCE: Final = 32
AT_ONCE_BYTES: Final = 1 << 24
"""Replies that are handed on together: so many, or of payloads of so many bytes and one more."""
UNSENT: Final = "the message could not be sent"
_EMPTY: Final = ConfigRecord({})


@dataclass(slots=True)
class FlowerCohort:
    """All nodes of a grid. `_asked` maps a training message that is still open to (node, round)."""

    grid: Grid
    clock: Clock
    pause: Callable[[float], None] = time.sleep
    _asked: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    def train(
        self, task: Task, model: bytes, answered: frozenset[int], control: bytes = b""
    ) -> Iterator[Sequence[Reply]]:
        """See `Cohort.train`."""
        nodes = [node for node in self.grid.get_node_ids() if node not in answered]
        body = document.to_bytes(task)
        ttl = float(max(1, task.deadline - self.clock.now()))
        sent = ConfigRecord({"document": body, "model": model})
        if control:
            sent["control"] = control
        messages = [_message(node, "train", task.round, ttl, sent) for node in nodes]
        waiting: set[str] = set()
        for node, message_id in zip(nodes, self._push(messages), strict=True):
            if message_id:
                self._asked[message_id] = node, task.round
                waiting.add(message_id)
            else:
                yield [Reply(node, task.round, b"", b"", f"node {node}: {UNSENT}")]
        while waiting and self.clock.now() <= task.deadline:
            arrived = 0
            for messages in _together(self.grid.pull_messages(list(self._asked))):
                arrived += 1
                waiting -= {each.metadata.reply_to_message_id for each in messages}
                yield [self._reply(each) for each in messages]
            if waiting and not arrived:
                self.pause(POLL_S)

    def late(self) -> Iterator[Reply]:
        """See `Cohort.late`."""
        if self._asked:
            for message in self.grid.pull_messages(list(self._asked)):
                yield self._reply(message)

    def promise(self, node: int, promise: SignedPromise) -> None:
        """See `Cohort.promise`; a node that is gone gets none, and nothing waits for it."""
        body = document.to_bytes(promise)
        self._push([_message(node, "query.promise", promise.promise.round, None, ConfigRecord({"document": body}))])

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        """See `Cohort.countersign`."""
        asking = [(node, proof.round, ConfigRecord({"document": document.to_bytes(proof)})) for node, proof in proofs]
        messages = [_message(node, "query.countersign", round_, COUNTERSIGN_S, sent) for node, round_, sent in asking]
        asked: dict[str, tuple[int, int]] = {}
        for (node, proof), message_id in zip(proofs, self._push(messages), strict=True):
            if message_id:
                asked[message_id] = node, proof.round
            else:
                yield [ReceiptReply(node, proof.round, b"", b"", f"node {node}: {UNSENT}")]
        until = self.clock.now() + COUNTERSIGN_S
        while asked and self.clock.now() <= until:
            replies = list(self.grid.pull_messages(list(asked)))
            if replies:
                yield [_receipt(*asked.pop(each.metadata.reply_to_message_id), each) for each in replies]
            elif asked:
                self.pause(POLL_S)

    def _push(self, messages: Sequence[Message]) -> list[str | None]:
        """Push messages; return each one's id, or None where the grid did not take it (it may take none at all)."""
        ids: list[str | None] = list(self.grid.push_messages(messages))
        return ids or [None] * len(messages)

    def _reply(self, message: Message) -> Reply:
        node, round_ = self._asked.pop(message.metadata.reply_to_message_id)
        if message.has_error():
            return Reply(node, round_, b"", b"", f"node {node}: {message.error.reason}")
        record = _record(message)
        header, payload, keys = (_bytes(record, name) for name in ("header", "payload", "keys"))
        return Reply(node, round_, header, payload, _text(record, "error"), keys)


def _together(messages: Iterable[Message]) -> Iterator[list[Message]]:
    """Yield messages that came at once in groups, small enough for an aggregator's memory."""
    group: list[Message] = []
    size = 0
    for each in messages:
        group.append(each)
        size += len(_bytes(_record(each), "payload")) if not each.has_error() else 0
        if size >= AT_ONCE_BYTES or len(group) == AT_ONCE:
            yield group
            group, size = [], 0
    if group:
        yield group


def _message(node: int, kind: str, round_: int, ttl: float | None, sent: ConfigRecord) -> Message:
    return Message(RecordDict({RECORD: sent}), node, kind, ttl=ttl, group_id=str(round_))


def _receipt(node: int, round_: int, message: Message) -> ReceiptReply:
    if message.has_error():
        return ReceiptReply(node, round_, b"", b"", f"node {node}: {message.error.reason}")
    record = _record(message)
    return ReceiptReply(node, round_, _bytes(record, "signer"), _bytes(record, "signature"), _text(record, "error"))


def _record(message: Message) -> ConfigRecord:
    record = message.content.get(RECORD)  # `config_records` copies all records at each call
    return record if isinstance(record, ConfigRecord) else _EMPTY


def _bytes(record: ConfigRecord, key: str) -> bytes:
    value = record.get(key)
    return value if isinstance(value, bytes) else b""


def _text(record: ConfigRecord, key: str) -> str:
    value = record.get(key)
    return value if isinstance(value, str) else ""
