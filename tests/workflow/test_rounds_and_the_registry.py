"""What the registry takes back while a round is open, decided or sealed, and what becomes of the updates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fedchain.core.errors import PolicyError
from fedchain.core.lineage import Verdict
from fedchain.core.rejection import Reason
from fedchain.core.task import Task
from fedchain.ports.cohort import Reply
from fedchain.ports.site_state import Evidence
from tests.doubles.power import Moment, PowerCutError, at
from tests.scenarios.federation import Federation, Setup, federation


def verified(new: Federation) -> None:
    """Check that the invariants hold and that a stranger with the trust file finds nothing wrong."""
    new.check()
    lineage = new.verify(trust=new.trust(), scrub=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


def reasons(new: Federation, round_: int) -> list[tuple[Reason, int]]:
    """Return (reason, node) of what a round's manifest lists as rejected."""
    return [(Reason(each.reason), each.node) for each in new.manifest(round_).rejected]


def crashed(new: Federation, moment: str, earlier: int = 0) -> None:
    with pytest.raises(PowerCutError):
        new.machine(at(moment, earlier)).run()


# ------------------------------------------------------------------ what the registry takes back


def during_round_one(new: Federation, act: Callable[[], object], node: int = 3) -> None:
    """Act on the registry while a site's reply of round 1 is on its way."""

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        if (task.round, reply.node) == (1, node):
            new.clock.forward(1)
            act()
        return [reply]

    new.cohort.tamper = tamper


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (lambda new: new.withdraw_consent(0), Reason.NO_CONSENT),
        (lambda new: new.revoke_device(0), Reason.KEY_NOT_VALID),
    ],
    ids=["consent withdrawn", "device revoked"],
)
def test_what_is_taken_back_within_the_round_moves_the_admitted_update_to_the_rejected(
    act: Callable[[Federation], object], reason: Reason
) -> None:
    new = federation(Setup(rounds=1))
    during_round_one(new, lambda: act(new))
    new.run()
    manifest = new.manifest(1)
    assert len(manifest.accepted) == 2
    (rejected,) = manifest.rejected
    assert (rejected.reason, rejected.signer, rejected.node) == (reason, new.members[0].device.address, 1)
    assert new.members[0].state.kept(Evidence.PROMISE, new.plan.manifest.run, 1) is not None
    verified(new)


def test_the_others_alone_make_the_model_when_a_consent_is_withdrawn() -> None:
    def last_model(order: list[int], *, withdrawn: bool) -> bytes:
        new = federation(Setup(rounds=1, epsilon=None))
        new.cohort.order = order
        if withdrawn:
            during_round_one(new, lambda: new.withdraw_consent(0))
        new.run()
        return new.links()[-1].link.model_digest

    assert last_model([1, 2, 3], withdrawn=True) == last_model([2, 3], withdrawn=False)


def test_a_withdrawal_that_leaves_too_few_aborts_the_round_with_each_reason() -> None:
    new = federation(Setup(rounds=1, min_clients=3))
    during_round_one(new, lambda: new.withdraw_consent(0))
    with pytest.raises(PolicyError):
        new.run()
    assert reasons(new, 1) == [(Reason.NO_CONSENT, 1), (Reason.ROUND_ABORTED, 2), (Reason.ROUND_ABORTED, 3)]
    new.check()


def test_an_update_that_comes_again_after_its_key_was_revoked_is_rejected_once() -> None:
    new, first = federation(Setup(rounds=1)), list[Reply]()

    def tamper(_task: Task, reply: Reply) -> list[Reply]:
        first.append(reply)
        if reply.node < 3:
            return [reply]
        new.revoke_device(0)
        return [first[0], reply]

    new.cohort.tamper = tamper
    new.run()
    assert reasons(new, 1) == [(Reason.KEY_NOT_VALID, 1)]
    verified(new)


@pytest.mark.parametrize("act", [Federation.withdraw_consent, Federation.revoke_device], ids=["consent", "device"])
def test_what_is_taken_back_after_the_decision_does_not_undo_the_round(
    act: Callable[[Federation, int], None],
) -> None:
    new = federation(Setup(rounds=2))
    crashed(new, "after journal decided")
    new.clock.forward(1)
    act(new, 0)
    new.run()
    assert [len(each.accepted) for each in new.manifests()] == [3, 2, 0]
    verified(new)


def test_a_key_revoked_while_the_round_is_being_decided_does_not_contradict_the_record() -> None:
    new = federation(Setup(rounds=1))
    puts = list[str]()

    def revoke(moment: Moment) -> bool:
        if moment.name == "before put":
            puts.append(moment.name)
        if len(puts) == 4 and moment.name == "before put":  # three payloads, then the new model
            new.clock.forward(5)
            new.revoke_device(0)
        return False

    new.machine(revoke).run()
    assert len(new.manifest(1).accepted) == 3
    verified(new)


@pytest.mark.parametrize("act", [Federation.withdraw_consent, Federation.revoke_device], ids=["consent", "device"])
def test_what_is_taken_back_in_the_second_of_the_decision_does_not_contradict_the_record(
    act: Callable[[Federation, int], None],
) -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal decided")
    act(new, 0)
    new.run()
    assert len(new.manifest(1).accepted) == 3
    verified(new)


def test_a_new_grant_between_decision_and_seal_does_not_contradict_the_record() -> None:
    new = federation(Setup(rounds=1))
    crashed(new, "after journal decided")
    new.submit(0, replace(new.grant_of(0), micro_epsilon_grant=1))
    new.run()
    assert len(new.manifest(1).accepted) == 3
    verified(new)


def test_a_site_that_consents_again_takes_part_again() -> None:
    new = federation(Setup(rounds=3))

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        if reply.node == 1 and task.round == 2:
            new.clock.forward(1)
            new.withdraw_consent(0)
        if reply.node == 1 and task.round == 3:
            new.submit(0, new.grant_of(0))
        return [reply]

    new.cohort.tamper = tamper
    new.run()
    assert [len(each.accepted) for each in new.manifests()] == [3, 2, 3, 0]
    verified(new)
