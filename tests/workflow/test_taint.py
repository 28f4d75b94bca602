"""A withdrawn dataset taints each model that holds an update of it, and all that came of it."""

from __future__ import annotations

from dataclasses import replace

from fedchain.core.aggregation import serially
from fedchain.core.lineage import Taint
from fedchain.core.record import LinkKind
from fedchain.core.releases import Ancestry, Edge, EdgeKind, Version
from fedchain.core.task import Task
from fedchain.ports.cohort import Reply
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.taint import datasets_behind, taints_of
from fedchain.workflow.verify import Verifier
from tests.doubles.training import AddingAccountant
from tests.scenarios.federation import Federation, Setup, federation

D, E = b"\xd1" * 32, b"\xe1" * 32


def withdrawn_in_round_two() -> Federation:
    """Two rounds; the first member withdraws while the second one is open."""
    new = federation(Setup(rounds=2))

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        if (task.round, reply.node) == (2, 3):
            new.clock.forward(1)
            new.withdraw_consent(0)
        return [reply]

    new.cohort.tamper = tamper
    new.run()
    return new


def audited(new: Federation) -> tuple[AuditedRound, ...]:
    return Verifier(new.ledger, new.store, AddingAccountant(), serially).audit().rounds


def test_nothing_is_tainted_where_nothing_was_withdrawn() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    assert [each.taints for each in new.verify().rounds] == [(), ()]


def test_a_withdrawal_taints_the_models_that_hold_an_update_and_their_descendants() -> None:
    new = withdrawn_in_round_two()
    dataset, since = new.members[0].applicant.dataset, new.record.state.consents
    found = new.verify()
    holds = [dataset.hex() in {part.dataset for part in each.contributions} for each in found.rounds]
    assert holds == [True, False, False], "round 2 was made without it"
    taint = Taint(dataset.hex(), since[dataset].withdrawn_at or 0)
    assert [each.taints for each in found.rounds] == [(taint,)] * 3
    assert found.findings == ()


def test_a_dataset_that_was_in_no_model_taints_none_and_a_new_grant_ends_a_taint() -> None:
    new = federation(Setup(rounds=1))
    new.withdraw_consent(0)
    new.run()
    assert {each.taints for each in new.verify().rounds} == {()}
    again = withdrawn_in_round_two()
    again.submit(0, again.grant_of(0))
    assert {each.taints for each in again.verify().rounds} == {()}


def test_a_run_that_starts_from_another_runs_model_inherits_its_datasets_and_an_aborted_round_adds_none() -> None:
    new = federation(Setup(rounds=1))
    new.run()
    first, closed = audited(new)
    link = first.chained.event.link
    everything = frozenset(each.applicant.dataset for each in new.members)

    def later(kind: LinkKind) -> AuditedRound:
        event = replace(
            first.chained.event,
            link=replace(link, run=b"\x0b" * 32, kind=kind, base_model=link.model_digest, model_digest=b"\x99" * 32),
        )
        return replace(first, chained=replace(first.chained, event=event), updates=first.updates[:1])

    behind = datasets_behind([first, closed, later(LinkKind.SEALED)])
    assert behind == dict.fromkeys([(link.run, 1), (link.run, 2), (b"\x0b" * 32, 1)], everything)
    alone = [later(LinkKind.SEALED), later(LinkKind.ABORTED)]
    assert [datasets_behind([each])[b"\x0b" * 32, 1] for each in alone] == [{first.updates[0].member.dataset}, set()]


def test_taints_stand_in_the_order_of_their_withdrawals() -> None:
    taints = taints_of(frozenset({D, E}), {D: 7, E: 5, b"\x01" * 32: 1})
    assert taints == (Taint(E.hex(), 5), Taint(D.hex(), 7))


def test_a_versions_ancestors_are_reached_once_each_by_a_shortest_way() -> None:
    def version(*parents: bytes) -> Version:
        edges = tuple(Edge(each, EdgeKind.MERGE) for each in parents)
        return Version(b"\x0a" * 32, b"\x14" * 32, bytes(32), bytes(32), bytes(32), edges)

    root, left, right, tip = (bytes([each]) * 32 for each in (1, 2, 3, 4))
    versions = {root: version(), left: version(root), right: version(root, left), tip: version(left, right, b"?" * 32)}
    ancestry = Ancestry(versions, {each: frozenset({each}) for each in versions})
    ways = {next(iter(each.datasets)): each.versions for each in ancestry.descents(tip)}
    assert ways == {
        tip: (versions[tip],),
        left: (versions[tip], versions[left]),
        right: (versions[tip], versions[right]),
        root: (versions[tip], versions[left], versions[root]),
    }
