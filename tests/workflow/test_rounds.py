"""The round machine: what a round becomes when all goes well, and when sites, keys, consents or time fail it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.core.rejection import Reason
from fedchain.core.signatures import P256_SIGNATURE_SIZE
from fedchain.core.task import Task, UpdateHeader
from fedchain.core.tensors import FloatTensors, decode, encode, model_digest
from fedchain.ports.cohort import Reply
from fedchain.ports.journal import Step
from fedchain.ports.site_state import Evidence
from fedchain.ports.training import LocalRound
from fedchain.ports.watcher import (
    Event,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    UpdateAdmitted,
)
from fedchain.workflow.run_state import RunState
from tests.doubles.power import PowerCutError, at
from tests.scenarios.federation import Federation, Setup, federation
from tests.scenarios.invariants import moved
from tests.workflow.drafts import Draft


def verified(new: Federation) -> None:
    """Check that the invariants hold and that a stranger with the trust file finds nothing wrong."""
    new.check()
    lineage = new.verify(trust=new.trust(), scrub=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


def kinds(new: Federation) -> list[LinkKind]:
    return [event.link.kind for event in new.links()]


def reasons(new: Federation, round_: int) -> list[tuple[Reason, int]]:
    """Return (reason, node) of what a round's manifest lists as rejected."""
    return [(Reason(each.reason), each.node) for each in new.manifest(round_).rejected]


# ------------------------------------------------------------------ when all goes well


def test_a_run_seals_every_round_and_closes() -> None:
    new = federation(Setup(rounds=3))
    state = new.run()
    assert kinds(new) == [LinkKind.SEALED] * 3 + [LinkKind.CLOSED]
    assert state.is_finished
    assert (state.rounds_ended, state.rounds_sealed, state.is_closed) == (3, 3, True)
    assert state == RunState.replay(new.journal.entries())
    verified(new)


def test_each_model_is_the_one_before_plus_the_weighted_mean_of_the_updates() -> None:
    new = federation(Setup(sites=2, rounds=1))
    updates: list[Draft] = []

    def listen(task: Task, reply: Reply) -> list[Reply]:
        updates.append(Draft.of(new, task, reply))
        return [reply]

    new.cohort.tamper = listen
    new.run()
    base = decode(new.store.get(Cid.parse(new.plan.manifest.initial_model.cid)))
    expected = encode(moved(base, [(updates[0].tensors, 100), (updates[1].tensors, 200)]))
    link, manifest = new.links()[0].link, new.manifest(1)
    assert new.store.get(Cid.parse(manifest.model.cid)) == expected
    assert link.model_digest == manifest.model.digest == model_digest(expected)


def test_the_next_round_starts_from_the_model_of_the_last() -> None:
    new = federation(Setup(rounds=2))
    new.run()
    first, second, last = (event.link for event in new.links())
    assert first.base_model == new.plan.manifest.initial_model.digest
    assert second.base_model == first.model_digest
    assert last.base_model == last.model_digest == second.model_digest


def test_the_manifest_lists_the_accepted_by_signer_and_names_the_runs_manifest() -> None:
    new = federation()
    new.cohort.order = [3, 1, 2]
    new.run()
    manifest = new.manifest(1)
    signers = [each.header.message.dataset for each in manifest.accepted]
    by_address = sorted(new.members, key=lambda member: member.device.address)
    assert signers == [member.applicant.dataset for member in by_address]
    assert manifest.run_manifest == new.plan.manifest_cid
    assert (manifest.opened_at, manifest.deadline) == (new.clock.now(), new.clock.now() + new.setup.timeout_s)


def test_whoever_watches_sees_each_step_once_and_in_order() -> None:
    new = federation(Setup(sites=2, rounds=1))
    new.run()
    sealing = RoundSealed, ReceiptSigned
    told = [type(event) for event in new.events if not isinstance(event, sealing)]
    assert told == [RoundOpened, UpdateAdmitted, UpdateAdmitted, RoundEnded, RunEnded]
    assert [event.round for event in new.events if isinstance(event, RoundSealed)] == [1, 2]
    assert [event.round for event in new.events if isinstance(event, ReceiptSigned)] == [1, 1, 2, 2]


def test_starting_again_after_the_end_changes_nothing() -> None:
    new = federation()
    new.run()  # the next machine asks for no receipt, and no site is asked for anything
    before = new.snapshot()
    assert new.run().is_finished
    assert new.snapshot() == before


def test_two_runs_of_one_federation_have_chains_of_their_own() -> None:
    first = federation()
    first.run()
    second = first.another_run(b"\x0b" * 32)
    second.run()
    assert kinds(second) == kinds(first) == [LinkKind.SEALED] * 2 + [LinkKind.CLOSED]
    assert second.links()[0].previous_hash == ZERO
    new_run = second.plan.manifest.run
    assert second.verify(run=new_run, trust=second.trust()).verdict is Verdict.VERIFIED
    assert second.verify(trust=second.trust()).verdict is Verdict.SELF_CONSISTENT
    second.check()


# ------------------------------------------------------------------ too few, too far, too late


def test_too_few_sites_abort_the_round_with_a_record_and_repeating_goes_on() -> None:
    new = federation(Setup(min_clients=3))
    new.cohort.order = [1, 3]
    with pytest.raises(PolicyError, match=r"round 1 was aborted: expected updates of at least 3 clients, got fewer"):
        new.run()
    assert kinds(new) == [LinkKind.ABORTED]
    assert new.manifest(1).reason == "cohort-too-small"
    assert reasons(new, 1) == [(Reason.ROUND_ABORTED, 1), (Reason.ROUND_ABORTED, 3)]
    new.check()
    new.cohort.order = None
    new.run()
    assert kinds(new) == [LinkKind.ABORTED, LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    assert new.links()[1].link.base_model == new.plan.manifest.initial_model.digest
    verified(new)


def test_the_first_site_that_could_not_take_part_is_named_in_the_error() -> None:
    new = federation(Setup(min_clients=3, micro_epsilon_grant=1_000_000))
    with pytest.raises(PolicyError, match=r"fewer, since the privacy grant of site-1 does not cover"):
        new.run()
    assert (new.manifest(1).accepted, new.manifest(1).rejected) == ((), ())
    new.check()


def test_a_site_that_reports_an_error_does_not_stop_the_others() -> None:
    new = federation(Setup(rounds=1))
    new.cohort.tamper = lambda task, reply: [
        Reply(2, task.round, b"", b"", "no rows today") if reply.node == 2 else reply
    ]
    new.run()
    assert len(new.manifest(1).accepted) == 2
    assert ReplyRejected(1, "node 2", "no rows today") in new.events
    verified(new)


@dataclass(frozen=True, slots=True)
class Leap:
    """A trainer that moves every parameter by the same step."""

    step: float

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        assert local.round > 0
        return {name: np.full_like(array, self.step) for name, array in base.items()}


def leap(new: Federation, step: float) -> None:
    new.cohort.sites = [
        replace(each.site, dataset=replace(each.site.dataset, trainer=Leap(step))) for each in new.members
    ]


def test_a_model_that_would_leave_the_range_aborts_the_round_with_a_record_and_repeating_goes_on() -> None:
    new = federation(Setup(rounds=2, max_update_norm=400.0))
    leap(new, 100.0)
    with pytest.raises(InputError, match=r"round 2 was aborted: the model would leave the fixed-point range"):
        new.run()
    assert kinds(new) == [LinkKind.SEALED, LinkKind.ABORTED]
    assert new.manifest(2).reason == "model-out-of-range"
    assert reasons(new, 2) == [(Reason.ROUND_ABORTED, node) for node in (1, 2, 3)]
    new.check()
    leap(new, 1.0)
    new.run()
    assert kinds(new) == [LinkKind.SEALED, LinkKind.ABORTED, LinkKind.SEALED, LinkKind.CLOSED]
    verified(new)


def crashed(new: Federation, moment: str, earlier: int = 0) -> None:
    with pytest.raises(PowerCutError):
        new.machine(at(moment, earlier)).run()


def test_a_round_whose_deadline_passed_while_nobody_watched_is_aborted_and_the_next_one_opened() -> None:
    new = federation()
    crashed(new, "after journal accepted")
    new.clock.forward(new.setup.timeout_s + 1)
    new.run()
    assert kinds(new) == [LinkKind.ABORTED, LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    assert reasons(new, 1) == [(Reason.ROUND_ABORTED, 1)]
    verified(new)


def test_a_round_whose_deadline_passed_with_enough_updates_is_sealed_without_asking_again() -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal accepted", earlier=1)
    asked = [len(each.trainer.calls) for each in new.members]
    new.clock.forward(new.setup.timeout_s + 1)
    new.run()
    assert kinds(new) == [LinkKind.SEALED, LinkKind.CLOSED]
    assert len(new.manifest(1).accepted) == 2
    assert [len(each.trainer.calls) for each in new.members] == asked
    verified(new)


def test_a_round_is_still_open_in_its_last_second() -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal opened")
    new.clock.forward(new.setup.timeout_s)
    new.run()
    assert len(new.manifest(1).accepted) == 3
    verified(new)


def test_whoever_answered_before_a_crash_is_not_asked_again() -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal accepted")
    new.run()
    assert [len(each.trainer.calls) for each in new.members] == [1, 1, 1]
    assert len(new.manifest(1).accepted) == 3
    verified(new)


def test_a_promise_that_was_journaled_and_not_sent_is_sent_after_the_crash() -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal accepted")
    run = new.plan.manifest.run
    assert new.members[0].state.kept(Evidence.PROMISE, run, 1) is None
    new.run()
    for member in new.members:
        assert member.state.kept(Evidence.PROMISE, run, 1) is not None
    assert new.cohort.refusals == []


# ------------------------------------------------------------------ the closing link


def test_an_update_that_foresees_the_closing_link_is_neither_admitted_nor_promised() -> None:
    new = federation(Setup(rounds=1))
    drafts = list[Draft]()

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        drafts.append(Draft.of(new, task, reply))
        return [reply]

    new.cohort.tamper = tamper
    crashed(new, "after journal decided")
    draft, model = drafts[0], RunState.replay(new.journal.entries()).last_model
    assert model is not None
    draft.dp = replace(draft.dp, run_micro_epsilon=9_000_000)
    draft.state = lambda message: replace(
        message, round=2, base_model=model.digest, deadline=new.clock.now(), micro_epsilon_total=9_000_000
    )
    new.cohort.late_replies.append(draft.reply())
    new.run()
    assert kinds(new) == [LinkKind.SEALED, LinkKind.CLOSED]
    assert reasons(new, 2) == [(Reason.OTHER_ROUND, 1)]
    assert [entry.step for entry in new.journal.entries()].count(Step.ACCEPTED) == 3
    verified(new)


def test_an_update_released_for_a_round_is_the_one_on_the_ledger() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    accepted = {each.header.message.payload_cid for each in new.manifest(1).accepted}
    released = set[bytes]()
    for member in new.members:
        (data,) = member.state.releases.values()
        size = int.from_bytes(data[:4])
        released.add(document.from_bytes(UpdateHeader, data[4 : 4 + size]).message.payload_cid)
    assert accepted == released


def test_sites_whose_keys_live_in_hardware_take_part_like_all_others() -> None:
    new = federation(Setup(hardware=True))
    state = new.run()
    devices = {each.device.address for each in new.members}
    assert {len(each.header.signature) for each in new.manifest(1).accepted} == {P256_SIGNATURE_SIZE}
    assert [set(receipts) for receipts in state.receipts.values()] == [devices] * 3
    verified(new)


def test_what_a_watcher_raises_ends_the_run_like_a_crash_and_it_can_be_resumed() -> None:
    new = federation(Setup(rounds=1))

    class ScreenGoneError(Exception):
        pass

    def watch(event: Event) -> None:
        if isinstance(event, UpdateAdmitted):
            raise ScreenGoneError

    machine = new.machine()
    machine._with = replace(machine._with, watcher=watch)
    with pytest.raises(ScreenGoneError):
        machine.run()
    new.run()
    verified(new)
