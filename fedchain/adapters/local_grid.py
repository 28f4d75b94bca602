"""A Flower Grid in one process: each message is answered by calling the ClientApp, no server, no Ray.

Replies may be shuffled with a seed, to show that their order changes nothing. This is a simulation: every node lives
in this process. On several threads nodes wait for their disks at once; replies come in the same order all the same.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from flwr.app import Context, Error, Message, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity


class LocalGrid(Grid):
    """Nodes 1..n of one ClientApp; node i has the node_config {"partition-id": i - 1}.

    With a `run_config`, as apps of others have, it also has "num-partitions", as in Flower's own simulation. An app
    that is safe for threads may be called on several: messages to one node are then still answered one by one.
    """

    def __init__(
        self,
        client_app: ClientApp,
        nodes: int,
        shuffle_seed: int | None = None,
        run_config: UserConfig | None = None,
        threads: int = 1,
    ) -> None:
        self._app = client_app
        self._nodes = range(1, nodes + 1)
        self._shuffle = None if shuffle_seed is None else random.Random(shuffle_seed)  # noqa: S311 - order only
        self._run = Run.create_empty(1)
        self._more: UserConfig = {} if run_config is None else {"num-partitions": nodes}
        self._run_config = run_config or {}
        self._outbox: dict[str, Message] = {}
        self._pushed = 0
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="nodes") if threads > 1 else None
        self._handed_over: deque[Future[Message]] = deque()
        self._turns = {node: threading.Lock() for node in self._nodes}
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = self._run.run_id, 0, 0

    def set_run(self, run: Run) -> None:
        """Set the Flower run."""
        self._run = run

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self._run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Keep each message for its node; it is answered when it is pulled."""
        ids: list[str] = []
        for message in messages:
            self._pushed += 1
            message_id = f"m{self._pushed}"
            _set_id(message, message_id)
            self._outbox[message_id] = message
            ids.append(message_id)
            if message.metadata.message_type == "query.promise":
                self._hand_over(self._outbox.pop(message_id))
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Answer the messages asked for, and return them in the order in which they were asked for, or shuffled."""
        waiting = [message_id for message_id in message_ids if message_id in self._outbox]
        if self._shuffle is not None:
            self._shuffle.shuffle(waiting)
        while self._handed_over:
            self._handed_over.popleft().result()
        if self._pool is None:
            for message_id in waiting:
                yield self._call(self._outbox.pop(message_id))
        else:
            yield from self._answered(self._pool, waiting)

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:  # noqa: ARG002 - Grid's
        """Push the messages and return all replies; nothing waits in one process, so `timeout` has no effect."""
        return list(self.pull_messages(list(self.push_messages(messages))))

    def _hand_over(self, message: Message) -> None:
        """Call a node whose answer nobody waits for, at the latest before the next answers are pulled."""
        if self._pool is None:
            self._call(message)
        else:
            self._handed_over.append(self._pool.submit(self._call, message))

    def _answered(self, pool: ThreadPoolExecutor, waiting: Sequence[str]) -> Iterator[Message]:
        """Answer on threads, up to twice as many messages ahead as there are threads."""
        ahead: deque[Future[Message]] = deque()
        left = deque(waiting)
        try:
            while left or ahead:
                while left and len(ahead) < 2 * self._threads:
                    ahead.append(pool.submit(self._call, self._outbox.pop(left.popleft())))
                yield ahead.popleft().result()
        finally:
            for each in ahead:
                each.cancel()

    def _call(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        if node not in self._nodes:
            return Message(Error(code=0, reason=f"no node {node}"), reply_to=message)
        with self._turns[node]:
            return self._answer(message)

    def _answer(self, message: Message) -> Message:
        node = message.metadata.dst_node_id
        context = Context(
            self._run.run_id, node, {"partition-id": node - 1, **self._more}, RecordDict(), self._run_config
        )
        reply = self._app(message, context)
        _set_id(reply, f"r-{message.metadata.message_id}")
        return reply


def _set_id(message: Message, message_id: str) -> None:
    """Set a message's id where Flower's own grids set it: the property is read-only."""
    message.metadata.__dict__["_message_id"] = message_id
