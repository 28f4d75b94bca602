"""The cohort over a Flower grid: replies as they come, errors and late ones under their own names, never for ever."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import chain

from flwr.app import ConfigRecord, Message, RecordDict

from fedchain.core import document
from fedchain.core.messages import InclusionPromise
from fedchain.core.task import LocalTraining, RoundProof, SignedPromise, Task
from fedchain.ports.cohort import ReceiptReply, Reply
from server.cohort import COUNTERSIGN_S, POLL_S, FlowerCohort
from tests.doubles.clock import ManualClock
from tests.doubles.grid import Answer, ScriptedGrid, error, record, silence

TRAINING = LocalTraining("logistic", {}, 1, 32, "0.1", "4.0", 10_000_000, "1.0", 2, 7)
SIGNED = record(header=b"statement", payload=b"envelope")
ZERO = bytes(32)
PROOF = RoundProof(1, b"\x0a" * 32, 1, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, 3, 0, 1, 0x55, ())


@dataclass(slots=True)
class World:
    """A cohort whose pauses move the clock and let things happen."""

    grid: ScriptedGrid
    clock: ManualClock = field(default_factory=ManualClock)
    pauses: list[float] = field(default_factory=list[float])
    after: dict[int, dict[int, Answer]] = field(default_factory=dict[int, dict[int, Answer]])
    cohort: FlowerCohort = field(init=False)

    def __post_init__(self) -> None:
        self.cohort = FlowerCohort(self.grid, self.clock, self.pause)

    def pause(self, seconds: float) -> None:
        """Pass a second instead of a fifth, and change what the nodes say."""
        self.pauses.append(seconds)
        self.clock.forward(1)
        self.grid.answers.update(self.after.get(len(self.pauses), {}))

    def task(self, round_: int = 1) -> Task:
        digest = bytes(32)
        return Task(
            1, bytes(20), digest, digest, round_, 1, digest, self.clock.now() + 10, 24, 32, digest, digest, digest,
            TRAINING,
        )  # fmt: skip

    def train(self, round_: int = 1, answered: frozenset[int] = frozenset()) -> list[Reply]:
        return list(chain.from_iterable(self.cohort.train(self.task(round_), b"model", answered)))


def signed(node: int, round_: int = 1) -> Reply:
    return Reply(node, round_, b"statement", b"envelope", "")


# ------------------------------------------------------------------ tasks


def test_every_node_gets_the_task_with_the_model_and_its_reply_is_its_own() -> None:
    world = World(ScriptedGrid({7: SIGNED, 9: SIGNED}))
    assert world.train() == [signed(7), signed(9)]
    assert [message.metadata.dst_node_id for message in world.grid.sent] == [7, 9]
    for message in world.grid.sent:
        assert (message.metadata.message_type, message.metadata.group_id) == ("train", "1")
        assert message.metadata.ttl == 10.0
        body = message.content.config_records["fedchain"]
        assert body["model"] == b"model"
        data = body["document"]
        assert isinstance(data, bytes)
        assert document.from_bytes(Task, data).round == 1
    assert world.pauses == []


def test_whoever_answered_already_is_not_asked() -> None:
    world = World(ScriptedGrid({7: SIGNED, 9: SIGNED}))
    assert world.train(answered=frozenset([7])) == [signed(9)]


def test_nobody_there_is_no_reply_and_no_waiting() -> None:
    world = World(ScriptedGrid({}))
    assert world.train() == []
    assert world.pauses == []


def test_replies_come_as_they_arrive_and_the_cohort_pauses_between() -> None:
    world = World(ScriptedGrid({7: silence, 9: SIGNED}), after={3: {7: SIGNED}})
    assert world.train() == [signed(9), signed(7)]
    assert world.pauses == [POLL_S] * 3


def test_nothing_is_waited_for_after_the_deadline() -> None:
    world = World(ScriptedGrid({7: silence, 9: SIGNED}))
    assert world.train() == [signed(9)]
    assert len(world.pauses) == 11


def test_a_late_reply_comes_with_a_later_round_under_its_own() -> None:
    world = World(ScriptedGrid({7: silence, 9: SIGNED}))
    world.train(1)
    world.grid.answers[7] = SIGNED
    assert sorted(world.train(2), key=lambda reply: (reply.node, reply.round)) == [
        signed(7, 1), signed(7, 2), signed(9, 2),
    ]  # fmt: skip


def test_what_is_still_late_at_the_end_is_handed_over_without_waiting() -> None:
    world = World(ScriptedGrid({7: silence}))
    assert list(world.cohort.late()) == []
    world.train(1)
    assert list(world.cohort.late()) == []
    pauses = len(world.pauses)
    world.grid.answers[7] = SIGNED
    assert list(world.cohort.late()) == [signed(7)]
    assert list(world.cohort.late()) == []
    assert len(world.pauses) == pauses


def test_the_error_of_a_dead_node_is_attributed_by_the_message_it_answers() -> None:
    world = World(ScriptedGrid({7: error("node unavailable"), 9: SIGNED}))
    assert world.train() == [Reply(7, 1, b"", b"", "node 7: node unavailable"), signed(9)]


def test_the_error_of_a_site_comes_as_it_said_it() -> None:
    world = World(ScriptedGrid({7: record(error="the privacy grant is exhausted")}))
    assert world.train() == [Reply(7, 1, b"", b"", "the privacy grant is exhausted")]


def test_a_node_whose_message_cannot_be_sent_is_an_error_and_the_others_are_asked() -> None:
    world = World(ScriptedGrid({7: SIGNED, 8: SIGNED, 9: SIGNED}, refused={8}))
    assert world.train() == [Reply(8, 1, b"", b"", "node 8: the message could not be sent"), signed(7), signed(9)]
    assert world.pauses == []


def test_a_grid_that_takes_no_message_at_all_is_an_error_of_every_node() -> None:
    world = World(ScriptedGrid({7: SIGNED, 9: SIGNED}, takes_nothing=True))
    assert [(reply.node, reply.error) for reply in world.train()] == [
        (7, "node 7: the message could not be sent"), (9, "node 9: the message could not be sent"),
    ]  # fmt: skip
    assert world.pauses == []


def test_a_reply_of_other_types_or_without_our_record_is_an_empty_one() -> None:
    def nothing(message: Message) -> Message:
        return Message(RecordDict({"else": ConfigRecord({"header": b"x"})}), reply_to=message)

    world = World(ScriptedGrid({7: record(header="text", payload=3), 9: nothing}))
    assert world.train() == [Reply(7, 1, b"", b"", ""), Reply(9, 1, b"", b"", "")]


def test_a_task_never_has_less_than_a_second_to_live() -> None:
    world = World(ScriptedGrid({7: SIGNED}))
    task = world.task()
    world.clock.forward(10)
    list(world.cohort.train(task, b"model", frozenset()))
    assert world.grid.sent[0].metadata.ttl == 1.0


# ------------------------------------------------------------------ promises and receipts


def test_a_promise_is_sent_to_its_node_and_nothing_waits_for_an_answer() -> None:
    world = World(ScriptedGrid({7: silence, 9: silence}))
    promise = SignedPromise(InclusionPromise(bytes(32), bytes(32), 4, bytes(32), 5), b"signature", 1)
    world.cohort.promise(9, promise)
    (message,) = world.grid.sent
    assert (message.metadata.dst_node_id, message.metadata.message_type) == (9, "query.promise")
    data = message.content.config_records["fedchain"]["document"]
    assert isinstance(data, bytes)
    assert document.from_bytes(SignedPromise, data) == promise
    assert world.grid.asked == []


def test_a_promise_that_cannot_be_sent_is_dropped() -> None:
    world = World(ScriptedGrid({7: silence}, refused={7}))
    world.cohort.promise(7, SignedPromise(InclusionPromise(bytes(32), bytes(32), 4, bytes(32), 5), b"signature", 1))
    assert world.grid.sent == []


def test_receipts_come_as_they_arrive_under_their_nodes() -> None:
    receipt = record(signer=b"s" * 20, signature=b"r" * 65)
    world = World(ScriptedGrid({7: silence, 8: error("gone"), 9: receipt}, refused={6}), after={2: {7: receipt}})
    world.grid.answers[6] = receipt
    replies = list(chain.from_iterable(world.cohort.countersign([(node, PROOF) for node in (6, 7, 8, 9)])))
    assert replies == [
        ReceiptReply(6, PROOF.round, b"", b"", "node 6: the message could not be sent"),
        ReceiptReply(8, PROOF.round, b"", b"", "node 8: gone"),
        ReceiptReply(9, PROOF.round, b"s" * 20, b"r" * 65, ""),
        ReceiptReply(7, PROOF.round, b"s" * 20, b"r" * 65, ""),
    ]
    assert {message.metadata.message_type for message in world.grid.sent} == {"query.countersign"}
    assert world.pauses == [POLL_S] * 2


def test_several_rounds_are_waited_for_once_and_each_receipt_says_its_round() -> None:
    receipt = record(signer=b"s" * 20, signature=b"r" * 65)
    world = World(ScriptedGrid({7: silence, 8: receipt}))
    proofs = [(node, replace(PROOF, round=round_)) for round_ in (3, 4) for node in (7, 8)]
    replies = list(chain.from_iterable(world.cohort.countersign(proofs)))
    assert [(each.node, each.round) for each in replies] == [(8, 3), (8, 4)]
    assert len(world.pauses) == COUNTERSIGN_S + 1


def test_a_site_that_refuses_to_sign_says_why() -> None:
    world = World(ScriptedGrid({7: record(error="round 1 does not include north's update")}))
    ((reply,),) = world.cohort.countersign([(7, PROOF)])
    assert reply == ReceiptReply(7, PROOF.round, b"", b"", "round 1 does not include north's update")


def test_a_receipt_is_waited_for_a_minute_and_not_for_ever() -> None:
    world = World(ScriptedGrid({7: silence}))
    assert list(world.cohort.countersign([(7, PROOF)])) == []
    assert len(world.pauses) == COUNTERSIGN_S + 1


def test_no_proof_is_no_message() -> None:
    world = World(ScriptedGrid({7: silence}))
    assert list(world.cohort.countersign([])) == []
    assert (world.grid.sent, world.grid.asked) == ([], [])
