"""Replies that come together: the record is the one of replies that come alone, whatever fails between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import pytest

from fedchain.core.rejection import Reason
from fedchain.core.task import RoundProof, SignedPromise, Task
from fedchain.ports.cohort import ReceiptReply, Reply
from fedchain.ports.site_state import Evidence
from tests.doubles.cohort import DirectCohort
from tests.doubles.power import PowerCutError, after, at
from tests.scenarios.federation import Federation, Setup, federation

T = TypeVar("T")


def grouped(each: Iterator[T], size: int) -> Iterator[Sequence[T]]:
    while group := tuple(islice(each, size)):
        yield group


@dataclass(frozen=True, slots=True)
class Together:
    """A cohort whose replies come in groups."""

    cohort: DirectCohort
    size: int

    def train(
        self, task: Task, model: bytes, answered: frozenset[int], control: bytes = b""
    ) -> Iterator[Sequence[Reply]]:
        return grouped(chain.from_iterable(self.cohort.train(task, model, answered, control)), self.size)

    def late(self) -> Iterator[Reply]:
        return self.cohort.late()

    def promise(self, node: int, promise: SignedPromise) -> None:
        self.cohort.promise(node, promise)

    def countersign(self, proofs: Sequence[tuple[int, RoundProof]]) -> Iterator[Sequence[ReceiptReply]]:
        return grouped(chain.from_iterable(self.cohort.countersign(proofs)), self.size)


def record_of(new: Federation) -> list[tuple[bytes, bytes]]:
    return [(each.link.updates_root, each.link.rejected_root) for each in new.links()]


def twice_and_broken(task: Task, reply: Reply) -> list[Reply]:
    """Let node 2 answer twice, and node 3 with a broken payload before its real one."""
    if reply.node == 2:
        return [reply, reply]
    if reply.node == 3:
        return [replace(reply, payload=reply.payload[:-1] + b"?"), reply]
    return [reply]


def run(size: int) -> Federation:
    new = federation(Setup(rounds=2))
    new.cohort.tamper = twice_and_broken
    new.machine(cohort=Together(new.cohort, size)).run()
    return new


@pytest.mark.parametrize("size", [2, 3, 10])
def test_the_record_does_not_say_how_replies_were_grouped(size: int) -> None:
    alone, together = run(1), run(size)
    assert record_of(alone) == record_of(together)
    assert sorted(each.reason for each in together.manifest(1).rejected) == [Reason.DUPLICATE, Reason.PAYLOAD_MISMATCH]
    together.check()


def test_no_promise_goes_out_before_all_that_came_together_is_journaled() -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(PowerCutError):
        new.machine(at("before promise"), cohort=Together(new.cohort, 3)).run()
    assert new.power.passed.count("after journal accepted") == 3


@pytest.mark.parametrize("moments", range(1, 40, 2))
def test_power_may_fail_anywhere_between_replies_that_came_together(moments: int) -> None:
    new = federation(Setup(rounds=1))
    with pytest.raises(PowerCutError):
        new.machine(after(moments), cohort=Together(new.cohort, 3)).run()
    new.machine(cohort=Together(new.cohort, 3)).run()
    assert new.links()[0].link.accepted == 3
    run_id = new.plan.manifest.run
    assert all(each.state.kept(Evidence.RECEIPT, run_id, 1) is not None for each in new.members)
    new.check()
