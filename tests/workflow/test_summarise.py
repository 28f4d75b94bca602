"""What is reported of a run is what its state says, and nothing is claimed that no receipt vouches for."""

from __future__ import annotations

from dataclasses import replace

from fedchain.core.policy import GrantKind
from fedchain.core.privacy import MICRO
from fedchain.core.rejection import Reason
from fedchain.core.task import Task
from fedchain.core.trust import SIMULATED, TRUST_FORMAT
from fedchain.ports.cohort import Reply
from fedchain.workflow.run_state import RunState
from fedchain.workflow.summarise import ledger_head, pins_of, privacy_of, rejections_of, row_of, trust_file
from fedchain.workflow.summary import RejectionSummary
from tests.scenarios.federation import IDENTITY, Federation, Setup, federation


def names(new: Federation) -> dict[bytes, str]:
    return {each.device.address: each.applicant.name for each in new.members}


def test_privacy_is_each_clients_after_its_last_accepted_update() -> None:
    new = federation()
    state = new.run()
    rows = privacy_of(state, new.plan.policies, names(new))
    assert [row.client for row in rows] == ["site-1", "site-2", "site-3"]
    first = rows[0]
    assert (first.micro_epsilon, first.micro_epsilon_total, first.delta_e12) == (4 * MICRO, 4 * MICRO, 10_000_000)
    assert (first.noise_multiplier_e6, first.batches_per_epoch, first.steps) == (500_000, 4, 8)
    assert (first.grant, first.micro_epsilon_grant, first.unit) == (GrantKind.SANDBOX.value, 10_000_000, "example")
    assert (first.mechanism, first.accountant) == ("poisson-subsampled-gaussian", "sum")


def test_a_client_that_took_part_in_some_rounds_only_is_reported_for_those() -> None:
    new = federation()
    new.cohort.tamper = lambda task, reply: [] if (task.round, reply.node) == (2, 1) else [reply]
    rows = privacy_of(new.run(), new.plan.policies, {})
    steps = {row.client: row.steps for row in rows}
    assert steps == {member.device.address.hex(): count for member, count in zip(new.members, (4, 14, 20), strict=True)}


def test_a_second_run_reports_its_own_loss_beside_the_datasets_lifetime() -> None:
    first = federation()
    first.run()
    second = first.another_run(b"\x0b" * 32)
    row = privacy_of(second.run(), second.plan.policies, names(second))[0]
    assert (row.micro_epsilon, row.micro_epsilon_total) == (4 * MICRO, 8 * MICRO)


def test_rejections_name_the_client_where_it_signed_and_the_node_where_nobody_did() -> None:
    new = federation(Setup(rounds=2))

    def tamper(task: Task, reply: Reply) -> list[Reply]:
        garbage = Reply(1, task.round, b"garbage", b"", "")
        return (
            [reply, reply] if reply.node == 2 else [garbage, reply] if task.round == 2 and reply.node == 1 else [reply]
        )

    new.cohort.tamper = tamper
    refused = rejections_of(new.run().refused, {new.members[1].device.address: "site-2"})
    assert refused == (
        RejectionSummary(1, "site-2", 26, Reason.DUPLICATE.words),
        RejectionSummary(2, "node 1", 27, Reason.MALFORMED.words),
        RejectionSummary(2, "site-2", 26, Reason.DUPLICATE.words),
    )
    unnamed = rejections_of(RunState.replay(new.journal.entries()).refused, {})
    assert unnamed[0].client == new.members[1].device.address.hex()


def test_every_co_signed_link_is_a_pin_and_no_other() -> None:
    new = federation()
    new.cohort.alter = lambda proof, reply: [] if proof.round == 2 else [reply]
    state = new.run()
    pins = pins_of(state)
    assert [(pin.run, pin.round, pin.round_hash) for pin in pins] == [
        (new.plan.manifest.run, event.link.round, event.round_hash) for event in new.links() if event.link.round != 2
    ]
    assert all([each.signer for each in pin.receipts] == sorted(names(new)) for pin in pins)


def test_a_trust_file_holds_the_keys_of_its_receipts_and_says_that_it_is_simulated() -> None:
    new = federation()
    pins = pins_of(new.run())
    trust = trust_file(IDENTITY, pins[::-1])
    assert (trust.format, trust.note) == (TRUST_FORMAT, SIMULATED)
    assert (trust.chain_id, trust.registry_contract, trust.rounds_contract, trust.federation) == (
        IDENTITY.chain_id, IDENTITY.registry_contract, IDENTITY.rounds_contract, IDENTITY.federation,
    )  # fmt: skip
    assert trust.keys == tuple(sorted(names(new)))
    assert trust.pins == pins


def test_a_row_names_the_newest_model_and_whether_the_run_is_finished() -> None:
    new = federation()
    manifest = new.plan.manifest
    before = row_of(manifest, RunState.replay(new.journal.entries()), "{}")
    assert (before.state, before.rounds_ended, before.model_cid) == ("unfinished", 0, manifest.initial_model.cid)
    after = row_of(manifest, new.run(), "{}")
    model = new.manifest(2).model
    ended = replace(before, state="finished", rounds_ended=2)
    assert after == replace(ended, model_cid=model.cid, model_digest="0x" + model.digest.hex())
    assert (after.run, after.experiment, after.rounds) == (manifest.run.hex(), "memory", 2)


def test_the_ledger_head_is_the_newest_seal() -> None:
    new = federation()
    assert ledger_head(RunState()) == ""
    assert ledger_head(new.run()) == "0x" + new.links()[-1].round_hash.hex()
