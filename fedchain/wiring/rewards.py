"""The rewards of a home: what its record gives, beside what the vault on its chain says; and paying it.

All keys of a simulation lie here, so this home can do every act. In a federation each is for whoever holds its key, and
claiming is for anyone. The record is verified before anything is told or sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.keys import key_path, read_device
from fedchain.adapters.system import SystemClock
from fedchain.adapters.threads import run_all_on
from fedchain.config import RewardsConfig
from fedchain.core import document
from fedchain.core.cid import DAG_PB, RAW, Cid
from fedchain.core.digest import ZERO, hex32
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.rewards import RewardHistory, RewardReport, RoundRewards, reward_tree
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.rewards import RewardVault
from fedchain.ports.signer import Signer
from fedchain.ports.store import ArtifactStore
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.parties import Parties, parties_of, read_ledger, site_names
from fedchain.wiring.record import audit
from fedchain.wiring.stores import open_store
from fedchain.wiring.vault import ensure_vault, read_vault, terms_of, written_vault
from fedchain.workflow.audit_config import read_config
from fedchain.workflow.audit_round import AuditedRound
from fedchain.workflow.payments import Announce, Done, Order
from fedchain.workflow.payout import Payout, Standing, Standings
from fedchain.workflow.rewards import PaidRound, paid_rounds, paying_runs, rederive_rewards
from fedchain.workflow.summary import AccountSummary, PendingSummary, RewardOverview

_ADDRESS: Final = re.compile("0x[0-9a-fA-F]{40}")
Act: TypeAlias = Callable[[Payout], tuple[Done, ...]]


@dataclass(frozen=True, slots=True)
class _Rederived:
    """What a home's record gives; `agreed` is what the first paying run was configured with, None without one."""

    lineage: Lineage
    identity: LedgerIdentity
    history: RewardHistory
    agreed: RewardsConfig | None
    settled: tuple[str, ...]
    """Rounds that cannot be scored any more: what stands for each in the history."""


def overview(home: Path, *, heads: Sequence[str], trust: Path | None) -> RewardOverview:
    """Return what every client of a home's record has earned, can claim and was paid.

    Where the record has findings nothing is computed from it.

    Raises:
        InputError: if the home, the trust file, a head or the vault cannot be read.
    """
    opened = open_home(home)
    found = _rederived(opened, heads, trust)
    with read_vault(opened) as vault:
        if vault is None:
            earned = found.history.report().balances
            accounts = tuple(Standing(each.account, each.cumulative, 0, 0) for each in earned)
            standings = Standings(accounts, 0, 0, None, ())
        else:
            standings = _payout(opened, vault, found.history, _say_nothing).standings()
        address = "" if vault is None else hex32(vault.identity().contract)
    return _overview(found, standings, address, names_of_clients(opened))


def fund(home: Path, announce: Announce, total: int | None) -> tuple[Done, ...]:
    """Put what is missing to a total, or to all that was earned, into the vault; the first time it is deployed.

    Raises:
        IntegrityError: if the record has findings.
        InputError: if the vault pays in credits, the operator's key holds too little, or as `propose`.
    """
    opened, act = open_home(home), lambda payout: payout.fund(total)
    with locked(opened):
        found, parties = _with_vault(opened)
        return _acted(opened, found, parties.operator, announce, act)


def propose(home: Path, announce: Announce) -> tuple[Done, ...]:
    """Put up the root of all that was earned so far; the first time the vault is deployed.

    Raises:
        IntegrityError: if the record has findings, or the vault's root is not what the record gives.
        PolicyError: if another root is pending, or the vault holds too little.
        InputError: if no run of the home pays, or two runs want different vaults.
    """
    opened = open_home(home)
    with locked(opened):
        found, parties = _with_vault(opened)
        return _acted(opened, found, parties.aggregator, announce, Payout.propose)


def finalize(home: Path, announce: Announce) -> tuple[Done, ...]:
    """Make the pending root the one that pays.

    Raises:
        IntegrityError: if the record has findings, or the root is not what the record gives.
        PolicyError: if its window is open.
        InputError: if there is no vault yet.
    """
    return _act(open_home(home), announce, Payout.finalize)


def dispute(home: Path, announce: Announce) -> tuple[Done, ...]:
    """Cancel the pending root, as the guardian, if it is not what the record gives.

    Raises:
        IntegrityError: if the record has findings.
        PolicyError: if the root is what the record gives.
        InputError: if there is no vault yet.
    """
    return _act(open_home(home), announce, Payout.dispute)


def claim(home: Path, announce: Announce, account: str | None) -> tuple[Done, ...]:
    """Have a client, by name or address, or every client paid.

    Raises:
        IntegrityError: if the record has findings, or the final root is not what the record gives.
        InputError: if there is no such client, or no vault yet.
    """
    opened = open_home(home)
    address = None if account is None else _address(opened, account)
    return _act(opened, announce, lambda payout: payout.claim(address))


def names_of_clients(home: Home) -> dict[bytes, str]:
    """Return the names of the clients whose keys lie in this home, by address."""
    paths = {name: key_path(home.keys, "device", name) for name in site_names(home)}
    return {read_device(path).address: name for name, path in paths.items() if path.exists()}


def _with_vault(opened: Home) -> tuple[_Rederived, Parties]:
    found, parties = _sound(opened), parties_of(opened)
    if found.agreed is None:
        raise InputError("no run of this home pays", remedy="run an experiment with rewards=donated")
    ensure_vault(opened, found.identity.chain_id, terms_of(found.agreed, found.identity, parties), parties.operator)
    return found, parties


def _act(home: Home, announce: Announce, act: Act) -> tuple[Done, ...]:
    with locked(home):
        return _acted(home, _sound(home), parties_of(home).operator, announce, act)


def _acted(home: Home, found: _Rederived, sender: Signer, announce: Announce, act: Act) -> tuple[Done, ...]:
    with written_vault(home, found.identity.chain_id, sender) as vault:
        return act(_payout(home, vault, found.history, announce))


def _payout(home: Home, vault: RewardVault, history: RewardHistory, announce: Announce) -> Payout:
    # Reports are stored in plain: the vault names their digest, and whoever claims for anybody has to read them.
    return Payout(vault, history, open_store(home), SystemClock(), announce)


def _say_nothing(_: Order) -> None:
    """Nothing is sent where nothing is written."""


def _sound(home: Home) -> _Rederived:
    found = _rederived(home, (), None)
    if found.lineage.verdict is Verdict.FINDINGS:
        raise IntegrityError(
            "the record does not hold, so nothing is paid from it", got=f"{len(found.lineage.findings)} findings",
            remedy="`fedchain verify` tells them",
        )  # fmt: skip
    return found


def _rederived(home: Home, heads: Sequence[str], trust: Path | None) -> _Rederived:
    with read_ledger(home) as ledger:
        identity = ledger.identity()
    audited = audit(home, run=None, heads=heads, trust=trust, scrub=False)
    store = open_artifacts(home)
    rounds = () if audited.lineage.verdict is Verdict.FINDINGS else audited.rounds
    paid = list(paid_rounds(rounds))
    settled = _settled(home) if any(each.is_gone for each in paid) else {}
    history = rederive_rewards(identity, paid, store, run_all_on(1), settled)
    gone = tuple(_words(each, each.round_hash in settled) for each in paid if each.is_gone)
    return _Rederived(audited.lineage, identity, history, _agreed(rounds, store), gone)


def _settled(home: Home) -> dict[bytes, RoundRewards]:
    """Return the rounds of the report under the final root of the home's vault, by their hash."""
    store = open_store(home)
    with read_vault(home) as vault:
        if vault is None or vault.root() == ZERO:
            return {}
        final, identity = (vault.root(), vault.total()), vault.identity()
        for each in vault.proposals():
            cid = next((one for codec in (RAW, DAG_PB) if store.has(one := Cid(codec, each.report))), None)
            if (each.root, each.total) != final or cid is None:
                continue
            report = document.from_bytes(RewardReport, store.get(cid))
            if reward_tree(identity.chain_id, identity.contract, report.balances).root == each.root:
                return {one.round_hash: one for one in report.rounds}
    return {}


def _words(paid: PaidRound, is_settled: bool) -> str:
    run, round_ = hex32(paid.run.run)[:10], paid.round
    if is_settled:
        return f"round {round_} of run {run} cannot be scored any more; it pays what the final root's report says"
    return f"round {round_} of run {run} cannot be scored any more and no final root covers it: it pays nothing"


def _agreed(rounds: Sequence[AuditedRound], store: ArtifactStore) -> RewardsConfig | None:
    """Return what the runs of a federation agree to be paid in.

    Raises:
        InputError: if two runs want different vaults: one vault pays for all.
    """
    wanted = [read_config(store.get(Cid.parse(run.config.cid))).rewards for run, _ in paying_runs(rounds)]
    for each in wanted:
        first, other = ((one.asset, one.token, one.dispute_window_s) for one in (wanted[0], each))
        if first != other:
            raise InputError("runs of one federation are paid by one vault", expected=first, got=other)
    return wanted[0] if wanted else None


def _overview(found: _Rederived, standings: Standings, vault: str, names: dict[bytes, str]) -> RewardOverview:
    pending = standings.pending
    return RewardOverview(
        lineage=found.lineage,
        asset="" if found.agreed is None else found.agreed.asset,
        vault=vault,
        accounts=tuple(
            AccountSummary(
                client=names.get(each.account, hex32(each.account)),
                account=hex32(each.account),
                earned=each.earned,
                claimable=each.claimable,
                claimed=each.claimed,
            )
            for each in standings.accounts
        ),
        history=found.history,
        names=names,
        final_rounds=standings.final_rounds,
        pending=None
        if pending is None
        else PendingSummary(hex32(pending.root), pending.total, standings.pending_rounds, pending.claimable_at),
        faults=standings.faults,
        settled=found.settled,
    )


def _address(home: Home, client: str) -> bytes:
    by_name = {name: address for address, name in names_of_clients(home).items()}
    if client in by_name:
        return by_name[client]
    if _ADDRESS.fullmatch(client):
        return bytes.fromhex(client[2:])
    known = ", ".join(sorted(by_name)) or "none"
    raise InputError("--account", expected=f"an address, or one of {known}", got=repr(client)[:80])
