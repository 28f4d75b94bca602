"""The in-process grid: the nodes of one ClientApp, answered in order or shuffled by a seed."""

from __future__ import annotations

import threading
import time

import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedchain.adapters.local_grid import LocalGrid


def echo() -> ClientApp:
    """Return an app that says who it is, how often it was called, and what it was told."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return _told(message, context)

    @app.query("promise")
    def promise(message: Message, context: Context) -> Message:
        return _told(message, context)

    return app


heard: list[tuple[int, str]] = []


def _told(message: Message, context: Context) -> Message:
    calls = context.state.config_records.setdefault("calls", ConfigRecord({"count": 0}))
    calls["count"] = int(str(calls["count"])) + 1
    word = str(message.content.config_records["ask"]["word"])
    heard.append((context.node_id, word))
    told = {"node": context.node_id, "calls": calls["count"], "word": word, **context.node_config}
    return Message(RecordDict({"told": ConfigRecord(told)}), reply_to=message)


def ask(node: int, word: str = "hello", kind: str = "train") -> Message:
    return Message(RecordDict({"ask": ConfigRecord({"word": word})}), node, kind)


def told(message: Message) -> dict[str, object]:
    return dict(message.content.config_records["told"])


def test_the_nodes_are_numbered_from_one() -> None:
    assert list(LocalGrid(echo(), 3).get_node_ids()) == [1, 2, 3]


def test_each_node_answers_its_own_message_and_knows_its_partition() -> None:
    grid = LocalGrid(echo(), 3)
    ids = list(grid.push_messages([ask(2, "two"), ask(3, "three")]))
    replies = list(grid.pull_messages(ids))
    assert [told(reply) for reply in replies] == [
        {"node": 2, "calls": 1, "word": "two", "partition-id": 1},
        {"node": 3, "calls": 1, "word": "three", "partition-id": 2},
    ]
    assert [reply.metadata.reply_to_message_id for reply in replies] == ids


def test_a_message_is_answered_once_and_only_when_it_is_asked_for() -> None:
    grid = LocalGrid(echo(), 2)
    first, second = grid.push_messages([ask(1), ask(2)])
    assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages([second])] == [second]
    assert [reply.metadata.reply_to_message_id for reply in grid.pull_messages([first, second])] == [first]
    assert list(grid.pull_messages([first, second, "unknown"])) == []


def test_a_node_keeps_nothing_between_messages() -> None:
    grid = LocalGrid(echo(), 1)
    for _ in range(3):
        (reply,) = grid.send_and_receive([ask(1)])
        assert told(reply)["calls"] == 1


def test_a_node_that_is_not_there_is_an_error() -> None:
    grid = LocalGrid(echo(), 2)
    (reply,) = grid.send_and_receive([ask(9)])
    assert reply.has_error()
    assert reply.error.reason == "no node 9"


def test_a_promise_is_delivered_when_it_is_sent_since_nobody_pulls_its_answer() -> None:
    heard.clear()
    grid = LocalGrid(echo(), 2)
    (message_id,) = grid.push_messages([ask(2, "promised", "query.promise")])
    assert heard == [(2, "promised")]
    assert list(grid.pull_messages([message_id])) == []


def order(seed: int | None) -> list[int]:
    grid = LocalGrid(echo(), 8, seed)
    return [reply.metadata.src_node_id for reply in grid.send_and_receive([ask(node) for node in range(1, 9)])]


def test_replies_come_in_the_order_of_the_nodes_unless_they_are_shuffled() -> None:
    assert order(None) == [1, 2, 3, 4, 5, 6, 7, 8]


def test_a_seed_shuffles_them_its_own_way_and_always_the_same() -> None:
    orders = [order(seed) for seed in range(5)]
    assert orders == [order(seed) for seed in range(5)]
    assert all(sorted(each) == [1, 2, 3, 4, 5, 6, 7, 8] for each in orders)
    assert len({tuple(each) for each in orders}) == 5


def test_the_messages_of_two_grids_do_not_mix() -> None:
    one, two = LocalGrid(echo(), 1), LocalGrid(echo(), 1)
    (first,) = one.push_messages([ask(1, "one")])
    (second,) = two.push_messages([ask(1, "two")])
    assert [told(reply)["word"] for reply in one.pull_messages([first])] == ["one"]
    assert [told(reply)["word"] for reply in two.pull_messages([second])] == ["two"]


def test_the_grid_makes_messages_and_knows_its_run() -> None:
    grid = LocalGrid(echo(), 1)
    message = grid.create_message(RecordDict(), "train", 1, "3", ttl=5.0)
    assert (message.metadata.dst_node_id, message.metadata.group_id, message.metadata.ttl) == (1, "3", 5.0)
    run = grid.run
    grid.set_run(run)
    assert grid.run is run


def slow_first(meeting: threading.Barrier) -> ClientApp:
    """Return an app whose nodes answer only when all of them are being asked."""
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        meeting.wait(timeout=20)
        return _told(message, context)

    return app


def test_on_threads_nodes_are_asked_at_once_and_answer_in_order() -> None:
    grid = LocalGrid(slow_first(threading.Barrier(4)), 4, threads=4)
    replies = grid.send_and_receive([ask(node) for node in (3, 1, 4, 2)])
    assert [reply.metadata.src_node_id for reply in replies] == [3, 1, 4, 2]


def test_on_threads_one_node_is_asked_one_thing_at_a_time() -> None:
    inside: list[int] = []

    def alone(message: Message, context: Context) -> Message:
        inside.append(context.node_id)
        time.sleep(0.01)  # long enough for another thread to come in
        assert inside.count(context.node_id) == 1
        inside.remove(context.node_id)
        return _told(message, context)

    app = ClientApp()
    app.train()(alone)
    grid = LocalGrid(app, 2, threads=4)
    assert len(list(grid.send_and_receive([ask(1 + number % 2) for number in range(8)]))) == 8


def test_on_threads_promises_are_delivered_before_the_next_answers() -> None:
    heard.clear()
    grid = LocalGrid(echo(), 4, threads=2)
    grid.push_messages([ask(node, "promised", "query.promise") for node in (1, 2, 3, 4)])
    list(grid.send_and_receive([ask(1, "trained")]))
    assert heard[-1] == (1, "trained")
    assert sorted(heard[:-1]) == [(node, "promised") for node in (1, 2, 3, 4)]


def test_a_fault_of_a_node_on_a_thread_reaches_whoever_pulls() -> None:
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise ZeroDivisionError

    grid = LocalGrid(app, 2, threads=2)
    with pytest.raises(ZeroDivisionError):
        list(grid.send_and_receive([ask(1), ask(2)]))
