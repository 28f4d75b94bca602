"""The server half of a recorded Flower app: the round machine's cohort behind a strategy's own sampling and messages.

Everything goes as a `train` message, since an app's mods stand in front of no other function that every app has. A
task takes the content that the strategy configured, without its arrays: the base model travels as the recorded
integers, so that a site trains on what it signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.run import Run

from fedchain.adapters.arrays import ArrayForm
from fedchain.adapters.targets import own_code
from fedchain.core import document
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.core.tensors import decode
from fedchain.ports.clock import Clock
from fedchain.ports.cohort import ReceiptReply, Reply
from fedchain.wiring.apps import Declaration
from server.cohort import RECORD, FlowerCohort

TRAIN: Final = "train"
METRICS: Final = "metrics"
FROZEN: Final = "fedchain.frozen"


def declarations_of(grid: Grid, timeout: float) -> tuple[Declaration, ...]:
    """Ask every node of a grid who it is, by node.

    Raises:
        PolicyError: if a site's policy does not allow the training.
        InputError: if a node does not answer, or its app has no mod of fedchain.
    """
    nodes = sorted(grid.get_node_ids())
    content = RecordDict({RECORD: ConfigRecord({"kind": "declare"})})
    with own_code("a ClientApp without fedchain's mod"):  # which took this for training
        replies = list(grid.send_and_receive([Message(content, node, TRAIN) for node in nodes], timeout=timeout))
    by_node = {each.metadata.src_node_id: each for each in replies}
    return tuple(_declared(node, by_node.get(node)) for node in nodes)


def _declared(node: int, reply: Message | None) -> Declaration:
    told = ConfigRecord()
    if reply is not None and reply.has_content():
        told = reply.content.config_records.get(RECORD, told)
    error = told.get("error")
    if isinstance(error, str):
        raise (PolicyError if told.get("is_policy") else InputError)(f"node {node}: {error}")
    data = told.get("document")
    if not isinstance(data, bytes):
        got = "no answer" if reply is None else reply.error.reason if reply.has_error() else "an app without it"
        raise InputError(
            f"node {node}", expected="a ClientApp with fedchain's mod", got=got,
            remedy="ClientApp(mods=[fedchain.flower.signed(...)])",
        )  # fmt: skip
    return document.from_bytes(Declaration, data)


@dataclass(slots=True)
class StrategyCohort:
    """The nodes that a strategy samples in each round; `reported` has the metrics of admitted updates by round."""

    strategy: FedAvg
    config: ConfigRecord
    form: ArrayForm
    carrier: Carrier
    clock: Clock
    reported: dict[int, list[MetricRecord]] = field(default_factory=dict[int, list[MetricRecord]])
    _inner: FlowerCohort = field(init=False)

    def __post_init__(self) -> None:
        self._inner = FlowerCohort(self.carrier, self.clock)

    def train(self, task: Task, model: bytes, answered: frozenset[int]) -> Iterator[Sequence[Reply]]:
        """See `Cohort.train`."""
        encoding = FixedPoint(task.fraction_bits, task.width)
        arrays = self.form.arrays_of(encoding.dequantise(decode(model)))
        sampled = self.strategy.configure_train(task.round, arrays, self.config, self.carrier.grid)
        words = ConfigRecord(
            {
                "arrays": self.strategy.arrayrecord_key,
                "weighted-by": self.strategy.weighted_by_key,
                "names": list(self.form.names),
                "dtypes": list(self.form.dtypes),
            }
        )
        self.carrier.invite(sampled, RecordDict({RECORD: words, FROZEN: self.form.frozen}))
        return self._inner.train(task, model, answered)

    def late(self) -> Iterator[Reply]:
        """See `Cohort.late`."""
        return self._inner.late()

    def promise(self, node: int, promise: SignedPromise) -> None:
        """See `Cohort.promise`; only an admitted update has one, so its metrics count from now on."""
        self._inner.promise(node, promise)
        metrics = self.carrier.metrics.pop(node, None)
        if metrics is not None:
            self.reported.setdefault(promise.promise.round, []).append(metrics)

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        """See `Cohort.countersign`."""
        return self._inner.countersign(proofs)


class Carrier(Grid):
    """A grid that carries the cohort's messages as the strategy configured them; `metrics` are the newest by node."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.metrics: dict[int, MetricRecord] = {}
        self._invited: dict[int, RecordDict] = {}
        self._with = RecordDict()
        self._promised: list[str] = []

    def invite(self, sampled: Iterable[Message], more: RecordDict) -> None:
        """Take what the strategy sends to each node that it sampled; `more` goes with it."""
        self._with, self._invited = more, {each.metadata.dst_node_id: each.content for each in sampled}

    def set_run(self, run: Run) -> None:
        """Set the Flower run."""
        self.grid.set_run(run)

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self.grid.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the nodes that the strategy sampled for the round."""
        return sorted(self._invited)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send the cohort's messages in the app's form."""
        outgoing = list(messages)
        ids = list(self.grid.push_messages([self._carried(each) for each in outgoing]))
        if ids and outgoing[0].metadata.message_type == "query.promise":
            self._promised += [each for each in ids if each]
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return replies as they came. Nobody waits for the answer to a promise, so those are taken along here."""
        answered = {each.metadata.reply_to_message_id for each in self.grid.pull_messages(self._promised)}
        self._promised = [each for each in self._promised if each not in answered]
        for message in self.grid.pull_messages(message_ids):
            if message.has_content() and METRICS in message.content.metric_records:
                self.metrics[message.metadata.src_node_id] = message.content.metric_records[METRICS]
            yield message

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send as they are, and return the replies."""
        return self.grid.send_and_receive(messages, timeout=timeout)

    def _carried(self, message: Message) -> Message:
        about, told = message.metadata, message.content.config_records[RECORD]
        kind = about.message_type.rpartition(".")[2]
        content = RecordDict({RECORD: ConfigRecord({"kind": kind, **told})})
        if kind == TRAIN:
            content[RECORD] = ConfigRecord({"kind": kind, **self._with.config_records[RECORD], **told})
            content[FROZEN] = self._with.array_records[FROZEN]
            for name, each in self._invited[about.dst_node_id].items():
                if not isinstance(each, ArrayRecord):
                    content[name] = each
        return Message(content, about.dst_node_id, TRAIN, ttl=about.ttl, group_id=about.group_id)
