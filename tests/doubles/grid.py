"""A Flower Grid whose nodes answer when a test says so: at once, late, with an error, or never."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

Answer = Callable[[Message], Message | None]
"""What a node says to a message, or None as long as it says nothing."""


def error(reason: str) -> Answer:
    """Answer as Flower answers for a node that is gone."""
    return lambda message: Message(Error(code=3, reason=reason), reply_to=message)


def record(**values: bytes | str | int) -> Answer:
    """Answer with a record of our own."""
    return lambda message: Message(RecordDict({"fedchain": ConfigRecord(dict(values))}), reply_to=message)


def silence(_message: Message) -> Message | None:
    """Say nothing."""
    return None


@dataclass
class ScriptedGrid(Grid):
    """`answers` maps a node to what it says; `refused` are the nodes whose messages cannot be sent."""

    answers: dict[int, Answer]
    refused: set[int] = field(default_factory=set[int])
    takes_nothing: bool = False
    sent: list[Message] = field(default_factory=list[Message])
    asked: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    _open: dict[str, Message] = field(default_factory=dict[str, Message])

    def __post_init__(self) -> None:
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 0, 0  # what every message asks for

    def set_run(self, run: Run) -> None:
        raise NotImplementedError

    @property
    def run(self) -> Run:
        raise NotImplementedError

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        raise NotImplementedError

    def get_node_ids(self) -> Iterable[int]:
        return list(self.answers)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids: list[str] = []
        for message in messages:
            if message.metadata.dst_node_id in self.refused:
                ids.append(None)  # type: ignore[arg-type]  # what Flower's own grid returns, against its annotation
                continue
            self.sent.append(message)
            message.metadata.__dict__["_message_id"] = f"m{len(self.sent)}"
            self._open[f"m{len(self.sent)}"] = message
            ids.append(f"m{len(self.sent)}")
        return [] if self.takes_nothing else ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        self.asked.append(tuple(message_ids))
        replies: list[Message] = []
        for message_id in self.asked[-1]:
            message = self._open[message_id]
            reply = self.answers[message.metadata.dst_node_id](message)
            if reply is not None:
                del self._open[message_id]
                replies.append(reply)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        raise NotImplementedError
