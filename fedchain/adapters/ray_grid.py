"""A Flower Grid whose nodes are actors of Ray: Flower's simulation engine carries the messages between processes.

`run_simulation` is the one public way to start that engine within a program, though Flower marks it as deprecated
in favour of its own command. The ServerApp that it is given here hands out its grid and waits, so that whoever drives
the rounds stays on the thread that holds journal and ledger. Flower draws new node ids at every start; here nodes are
1..n by partition, so that a resumed run finds the nodes that its journal names.
"""

from __future__ import annotations

import importlib.util
import logging
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

import flwr.supercore.telemetry
import torch
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.app.typing import ConfigRecordValues
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid, ServerApp
from flwr.supercore.run import Run

from fedchain.core.errors import InputError, UnreachableError

CLUSTER: Final = "RAY_ADDRESS"
"""The environment variable with the address of a Ray that is there already."""

_Backend: TypeAlias = dict[str, dict[str, ConfigRecordValues]]

_LOGGER: Final = "flwr"
_PYTHONPATH: Final = "PYTHONPATH"
"""Flower's engine adds this process' own search path to it."""
_RECORD: Final = "fedchain"
_WHO: Final = "query.partition"
_START_S: Final = 300.0
_SETTLE_S: Final = 10.0
_POLL_S: Final = 0.05
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
_SETTINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics to anybody
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do anyway, and warns of
}


def check_ray() -> None:
    """Check that Ray is installed, without importing it.

    Raises:
        InputError: if it is not.
    """
    if importlib.util.find_spec("ray") is None:
        raise InputError(
            "simulation.backend ray", expected="the package ray", got="none",
            remedy="pip install 'fedchain[ray]', or choose simulation=default",
        )  # fmt: skip


@contextmanager
def ray_grid(client_app: ClientApp, nodes: int, actors: int, *, on_gpu: bool) -> Iterator[Grid]:
    """Give a grid of nodes 1..n over so many actors, each a process, as long as the context.

    With RAY_ADDRESS set, the actors are as many as that Ray has processors for.

    Raises:
        InputError: if the engine does not start, or an actor is on another machine than this process.
    """
    check_ray()
    engine = _Engine(_Introduced(client_app), nodes, _resources(actors, on_gpu=on_gpu))
    with _hushed():
        engine.start()
        try:
            grid = RayGrid(engine)
            yield grid
            grid.settle()
        finally:
            engine.stop()


class RayGrid(Grid):
    """Flower's grid over its engine, with nodes renumbered by partition."""

    def __init__(self, engine: _Engine) -> None:
        self._engine = engine
        self._flower = engine.grid()
        self._unread: set[str] = set()
        self._ids = self._introductions()

    def set_run(self, run: Run) -> None:
        """Set the Flower run."""
        self._flower.set_run(run)

    @property
    def run(self) -> Run:
        """The Flower run."""
        return self._flower.run

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, group_id: str, ttl: float | None = None
    ) -> Message:
        """Return a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """Return the node ids."""
        return sorted(self._ids)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Send each message to its node."""
        sent = list(messages)
        for each in sent:
            each.metadata.dst_node_id = self._ids[each.metadata.dst_node_id]
        ids = list(self._flower.push_messages(sent))
        self._unread.update(ids)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Return the replies that are there.

        Raises:
            UnreachableError: if the engine has ended, or an actor: Flower puts none in its place.
            RuntimeError: what the app itself failed with, as in one process.
        """
        self._engine.check()
        replies = list(self._flower.pull_messages(list(message_ids)))
        for each in replies:
            _check(each)
        self._unread.difference_update(each.metadata.reply_to_message_id for each in replies)
        return replies

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Send the messages, and wait for the replies until the timeout (seconds)."""
        ids = set(self.push_messages(messages))
        return list(self._replies(ids, timeout))

    def settle(self) -> None:
        """Wait a moment for the nodes to deal with what nobody waits for, the last promises of a run."""
        for _ in self._replies(set(self._unread), _SETTLE_S):
            continue

    def _replies(self, ids: set[str], timeout: float | None) -> Iterator[Message]:
        left, end = set(ids), None if timeout is None else time.monotonic() + timeout
        while left and (end is None or time.monotonic() < end):
            replies = list(self.pull_messages(left))
            left.difference_update(each.metadata.reply_to_message_id for each in replies)
            yield from replies
            if left and not replies:
                time.sleep(_POLL_S)

    def _introductions(self) -> dict[int, int]:
        """Return Flower's id of each node, as the node says itself; this is when processes start and import."""
        asked = self._engine.node_ids()
        messages = [Message(RecordDict(), node, _WHO) for node in asked]
        sent = dict(zip(self._flower.push_messages(messages), asked, strict=True))
        ids: dict[int, int] = {}
        for reply in self._replies(set(sent), _START_S):
            partition = _partition_of(reply)
            ids[partition + 1] = sent[reply.metadata.reply_to_message_id]
        if len(ids) < len(asked):
            raise InputError("Ray", expected=f"answers of {len(asked)} nodes in {_START_S:g} s", got=len(ids))
        return ids


class _Introduced(ClientApp):
    """An app that also says which partition its node has, and on which machine it is."""

    def __init__(self, app: ClientApp) -> None:
        super().__init__()
        self._app = app

    def __call__(self, message: Message, context: Context) -> Message:
        if message.metadata.message_type != _WHO:
            return self._app(message, context)
        record = ConfigRecord({"partition": int(context.node_config["partition-id"]), "machine": _machine()})
        return Message(RecordDict({_RECORD: record}), reply_to=message)


class _Engine:
    """Flower's simulation engine on a thread of its own, from `start` to `stop`."""

    def __init__(self, app: ClientApp, nodes: int, backend: _Backend) -> None:
        self._app, self._nodes, self._backend = app, nodes, backend
        self._grid: Grid | None = None
        self._has_grid, self._is_over = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="flower-engine", daemon=True)

    def start(self) -> None:
        """Start it; `grid` waits until it is there."""
        self._thread.start()

    def stop(self) -> None:
        """End it, its actors and the Ray that it started."""
        self._is_over.set()
        self._thread.join()

    def check(self) -> None:
        """Check that it is still there.

        Raises:
            UnreachableError: if it ended by itself.
        """
        if not self._thread.is_alive():
            raise UnreachableError(
                "Flower's engine ended", expected="Ray to run until the run's end", got=_line(self._failure),
                remedy="repeat the command to resume, with simulation=default if Ray cannot be used here",
            )  # fmt: skip

    def grid(self) -> Grid:
        """Return Flower's own grid."""
        while not self._has_grid.wait(_POLL_S):
            self.check()
        if self._grid is None:
            raise AssertionError("the event is set after the grid")
        return self._grid

    def node_ids(self) -> list[int]:
        """Return Flower's ids of all nodes, when it has made them all."""
        while len(found := list(self.grid().get_node_ids())) < self._nodes:
            self.check()
            time.sleep(_POLL_S)
        return found

    def _run(self) -> None:
        from flwr.simulation import run_simulation  # noqa: PLC0415, TID251 - the one place that starts Ray

        waiting = ServerApp()

        @waiting.main()
        def main(grid: Grid, _context: Context) -> None:
            self._grid = grid
            self._has_grid.set()
            self._is_over.wait()

        try:
            run_simulation(waiting, self._app, self._nodes, backend_config=self._backend)
        except (ImportError, RuntimeError) as error:  # what the engine wraps everything in
            self._failure = error
            self._is_over.set()


def _resources(actors: int, *, on_gpu: bool) -> _Backend:
    """Return the engine's settings: one processor an actor, and its share of the GPUs."""
    init: dict[str, ConfigRecordValues] = {"logging_level": logging.CRITICAL, "log_to_driver": False}
    if not os.environ.get(CLUSTER):
        init["num_cpus"] = actors
    share = 1 / math.ceil(actors / max(1, torch.cuda.device_count())) if on_gpu else 0.0
    return {"init_args": init, "client_resources": {"num_cpus": 1, "num_gpus": share}}


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep Flower and Ray from reporting home, and from logging what comes back as an error anyway."""
    logger, telemetry = logging.getLogger(_LOGGER), flwr.supercore.telemetry
    level, environment = logger.level, {name: os.environ.get(name) for name in (*_SETTINGS, _PYTHONPATH)}
    os.environ.update(_SETTINGS)
    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # read from the environment when Flower was imported
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _check(reply: Message) -> None:
    if not reply.has_error():
        return
    match reply.error.code:
        case ErrorCode.UNKNOWN:
            raise UnreachableError(
                "an actor of Ray", expected="a reply", got=" ".join(str(reply.error.reason).split())[:200],
                remedy="repeat the command to resume",
            )  # fmt: skip
        case ErrorCode.CLIENT_APP_RAISED_EXCEPTION | ErrorCode.LOAD_CLIENT_APP_EXCEPTION:
            raise RuntimeError(reply.error.reason)
        case _:  # too late, or expired: whoever asked knows what that means
            return


def _partition_of(reply: Message) -> int:
    """Return a node's partition from its introduction."""
    if reply.has_error():
        raise InputError("a node in Ray", expected="an answer", got=reply.error.reason)
    record = reply.content.config_records[_RECORD]
    partition, machine = record["partition"], record["machine"]
    if machine != _machine():
        raise InputError(
            "an actor of Ray is on another machine", expected="all on the one with the home, whose databases are files",
            got=f"a node of the Ray at {os.environ.get(CLUSTER, '')}",
            remedy=f"unset {CLUSTER}, or use a Ray of one machine",
        )  # fmt: skip
    if not isinstance(partition, int):
        raise InputError("a node in Ray", expected="its partition", got=repr(partition)[:80])
    return partition


def _machine() -> str:
    """Return what tells this machine, as long as it is up, from others."""
    return _BOOT.read_text().strip()


def _line(error: BaseException | None) -> str:
    """Return what an exception goes back to, in one line."""
    while error is not None and error.__cause__ is not None:
        error = error.__cause__
    return "no error" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
