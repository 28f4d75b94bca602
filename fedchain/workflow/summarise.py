"""From a run's state to what is reported of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedchain.core.manifest import RejectedReply, RewardTerms, RunManifest
from fedchain.core.policy import DataPolicy
from fedchain.core.privacy import DpParams
from fedchain.core.rejection import Reason
from fedchain.core.rewards import RewardReport
from fedchain.core.trust import SIMULATED, TRUST_FORMAT, Pin, TrustFile
from fedchain.ports.ledger import LedgerIdentity
from fedchain.workflow.audit_config import read_config
from fedchain.workflow.gate import NOBODY
from fedchain.workflow.run_state import Accepted, RunState
from fedchain.workflow.stopping import ending_of
from fedchain.workflow.summary import PrivacySummary, RejectionSummary, RewardSummary, RunRow


def privacy_of(
    state: RunState, policies: Mapping[bytes, DataPolicy], names: Mapping[bytes, str]
) -> tuple[PrivacySummary, ...]:
    """Return each client's privacy after its last accepted update."""
    last: dict[bytes, Accepted] = {}
    steps: dict[bytes, int] = {}
    for decided in (state.decided[round_] for round_ in sorted(state.decided)):
        for each in decided.accepted:
            last[each.signer] = each
            steps[each.signer] = steps.get(each.signer, 0) + each.header.dp.steps
    return tuple(
        _privacy(names.get(signer, signer.hex()), each, steps[signer], policies[each.header.message.policy])
        for signer, each in sorted(last.items(), key=lambda item: names.get(item[0], item[0].hex()))
    )


def _privacy(client: str, accepted: Accepted, steps: int, policy: DataPolicy) -> PrivacySummary:
    dp: DpParams = accepted.header.dp
    return PrivacySummary(
        client=client,
        micro_epsilon=dp.run_micro_epsilon,
        micro_epsilon_total=accepted.header.message.micro_epsilon_total,
        delta_e12=dp.delta_e12,
        unit=dp.unit,
        mechanism=dp.mechanism,
        noise_multiplier_e6=dp.noise_multiplier_e6,
        batches_per_epoch=dp.batches_per_epoch,
        steps=steps,
        accountant=dp.accountant,
        grant=policy.grant.value,
        micro_epsilon_grant=policy.micro_epsilon_grant,
    )


def rejections_of(
    refused: Sequence[tuple[int, RejectedReply]], names: Mapping[bytes, str]
) -> tuple[RejectionSummary, ...]:
    """Return the rejections by the round that recorded them."""
    return tuple(
        RejectionSummary(round_, _whom(each, names), each.reason, Reason(each.reason).words) for round_, each in refused
    )


def _whom(reply: RejectedReply, names: Mapping[bytes, str]) -> str:
    return f"node {reply.node}" if reply.signer == NOBODY else names.get(reply.signer, reply.signer.hex())


def rewards_of(report: RewardReport, terms: RewardTerms, names: Mapping[bytes, str]) -> tuple[RewardSummary, ...]:
    """Return what each client earned under a report, and the rows that it donated."""
    earned = {each.account: each.cumulative for each in report.balances}
    donated = {each.client: each.rows for each in terms.donors}
    rows = [
        RewardSummary(names.get(client, client.hex()), earned.get(client, 0), donated.get(client, 0))
        for client in earned.keys() | donated.keys()
    ]
    return tuple(sorted(rows, key=lambda each: each.client))


def pins_of(state: RunState) -> tuple[Pin, ...]:
    """Return a pin for every sealed link that a site has co-signed."""
    pins: list[Pin] = []
    for round_, sealed in sorted(state.sealed.items()):
        receipts = tuple(receipt for _, receipt in sorted(state.receipts.get(round_, {}).items()))
        if receipts:
            pins.append(Pin(state.decided[round_].link.run, round_, sealed.round_hash, receipts))
    return tuple(pins)


def trust_file(identity: LedgerIdentity, pins: Sequence[Pin]) -> TrustFile:
    """Return the trust file of a simulated federation: the receipts' own keys are the trusted ones."""
    keys = sorted({receipt.signer for pin in pins for receipt in pin.receipts})
    return TrustFile(
        format=TRUST_FORMAT,
        note=SIMULATED,
        chain_id=identity.chain_id,
        registry_contract=identity.registry_contract,
        rounds_contract=identity.rounds_contract,
        federation=identity.federation,
        keys=tuple(keys),
        pins=tuple(sorted(pins, key=lambda pin: (pin.run, pin.round))),
    )


def row_of(manifest: RunManifest, state: RunState, config: str) -> RunRow:
    """Return a run's row in the list of runs."""
    last = state.last_model or manifest.initial_model
    is_short = state.is_closed and state.rounds_sealed < manifest.rounds
    return RunRow(
        run=manifest.run.hex(),
        experiment=manifest.experiment,
        state="finished" if state.is_finished else "unfinished",
        rounds_ended=state.rounds_ended,
        rounds=manifest.rounds,
        model_cid=last.cid,
        config=config,
        created_at=manifest.created_at,
        ending=ending_of(state, manifest, read_config(config.encode())) if is_short else "",
        model_digest="0x" + last.digest.hex(),
    )


def ledger_head(state: RunState) -> str:
    """Return the hash of the newest sealed link, as 0x-hex."""
    return "0x" + state.sealed[max(state.sealed)].round_hash.hex() if state.sealed else ""
