"""From a sealed round to paid credits: what the record gives is paid once, and nothing else is paid at all.

Every act is repeated after a crash before and after each of its effects, and by several people at once.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from fedchain.core import document
from fedchain.core.cid import RAW, Cid
from fedchain.core.errors import InputError, IntegrityError, PolicyError, RejectedTransactionError
from fedchain.core.rewards import Balance, RewardHistory, RewardReport, reward_leaf, reward_tree
from fedchain.ports.rewards import AssetKind, Proposal, VaultIdentity, VaultTerms
from fedchain.workflow.payments import Allow, Claim, Done, Finalize, Fund, Order, Propose
from fedchain.workflow.payout import Payout, Standing
from tests.doubles.clock import ManualClock
from tests.doubles.signer import NamedSigner
from tests.doubles.vault import MemoryRewardVault, MemoryVault
from tests.scenarios.federation import (
    AGGREGATOR,
    IDENTITY,
    OPERATOR,
    REWARDS,
    SALT,
    Federation,
    Setup,
    Snapshot,
    federation,
)

WINDOW = 60
ANYONE = NamedSigner("anyone")
TERMS = VaultTerms(IDENTITY.federation, AGGREGATOR.address, OPERATOR.address, bytes(20), AssetKind.CREDITS, WINDOW)
PAID = Setup(sites=3, rounds=2, rewards=REWARDS)


class CutError(Exception):
    """The process is gone."""


@dataclass(slots=True)
class World:
    """A finished run, the vault, and what was announced."""

    new: Federation
    vault: MemoryVault
    orders: list[Order] = field(default_factory=list[Order])

    def payout(self, history: RewardHistory | None = None, sender: NamedSigner = AGGREGATOR) -> Payout:
        port = MemoryRewardVault(self.vault, sender.address)
        return Payout(port, history or self.new.rewards(), self.new.store, self.new.clock, self.orders.append)

    def pay(self) -> None:
        """Propose, make final and claim all that was earned."""
        self.payout().propose()
        self.new.clock.forward(WINDOW)
        self.payout(sender=ANYONE).finalize()
        self.payout(sender=ANYONE).claim()

    def another_run(self) -> None:
        before = sum(self.earned.values())
        self.new.another_run(bytes([SALT[0] + 1]) * 32, replace(PAID, rounds=5)).run()
        assert sum(self.earned.values()) > before

    @property
    def earned(self) -> dict[bytes, int]:
        return {each.account: each.cumulative for each in self.new.rewards().report().balances}


@functools.cache
def _finished() -> tuple[Federation, Snapshot]:
    new = federation(PAID)
    new.run()
    return new, new.snapshot()


@pytest.fixture
def world() -> World:
    new, snapshot = _finished()
    new.restore(snapshot)
    return World(new, MemoryVault(VaultIdentity(IDENTITY.chain_id, b"\x03" * 20, TERMS), new.clock))


def test_all_that_was_earned_is_paid_to_those_who_earned_it(world: World) -> None:
    earned = world.earned
    world.pay()
    assert world.vault.claimed == {account: amount for account, amount in earned.items() if amount}
    assert world.vault.paid == world.vault.total == sum(earned.values()) > 0
    kinds = [type(each) for each in world.orders]
    assert kinds == [Propose, Finalize] + [Claim] * len(world.vault.claimed)


def test_each_act_is_announced_before_it_is_sent_and_repeating_it_sends_nothing(world: World) -> None:
    world.pay()
    told, sent = len(world.orders), world.vault.transactions
    assert told == sent
    for act in (Payout.propose, Payout.finalize, Payout.claim):
        assert act(world.payout()) == ()
    assert (len(world.orders), world.vault.transactions) == (told, sent)


def test_a_later_run_adds_to_what_was_paid(world: World) -> None:
    world.pay()
    before = dict(world.vault.claimed)
    world.another_run()
    world.pay()
    assert world.vault.paid == world.vault.total == sum(world.earned.values())
    assert all(world.vault.claimed[account] >= amount for account, amount in before.items())


def test_one_account_is_paid_alone_by_anyone(world: World) -> None:
    account = max(world.earned, key=lambda each: world.earned[each])
    world.payout().propose()
    world.new.clock.forward(WINDOW)
    world.payout(sender=ANYONE).finalize()
    (done,) = world.payout(sender=ANYONE).claim(account)
    assert isinstance(done.order, Claim)
    assert (done.order.account, done.order.amount) == (account, world.earned[account])
    assert world.vault.claimed == {account: world.earned[account]}
    with pytest.raises(InputError, match="a client of this federation"):
        world.payout().claim(ANYONE.address)


def test_nothing_is_final_before_its_window_is_over(world: World) -> None:
    world.payout().propose()
    with pytest.raises(PolicyError, match="dispute window"):
        world.payout().finalize()
    assert world.payout().claim() == ()
    assert world.vault.paid == 0


def apart(world: World, seconds: int) -> ManualClock:
    """Put the ledger's time before or behind the machine's; return its clock."""
    clock = ManualClock(world.new.clock.time + seconds)
    world.vault = MemoryVault(world.vault.identity, clock)
    return clock


def test_a_window_ends_by_the_ledgers_time_where_this_machine_is_slow(world: World) -> None:
    clock = apart(world, 10 * WINDOW)
    world.payout().propose()
    clock.forward(WINDOW)
    world.vault.mine()
    assert len(world.payout().finalize()) == 1
    assert world.vault.pending is None


def test_a_window_ends_by_the_machines_time_where_the_ledger_is_idle(world: World) -> None:
    world.payout().propose()
    world.new.clock.forward(WINDOW)
    assert world.vault.time < world.new.clock.time
    assert len(world.payout().finalize()) == 1


def test_a_fast_machine_is_told_that_the_window_is_open(world: World) -> None:
    clock = apart(world, -10 * WINDOW)
    world.payout().propose()
    clock.forward(10)
    world.vault.mine()
    with pytest.raises(PolicyError, match=f"dispute window is open.*got {WINDOW - 10} s left"):
        world.payout().finalize()
    clock.forward(WINDOW - 10)
    assert len(world.payout().finalize()) == 1


def test_a_root_that_is_disputed_meanwhile_is_not_said_to_wait(world: World) -> None:
    clock = apart(world, -10 * WINDOW)
    world.payout().propose()

    class Disputed(MemoryRewardVault):
        def finalize(self) -> bytes:
            world.vault.pending = None
            return super().finalize()

    clock.forward(10)
    port = Disputed(world.vault, AGGREGATOR.address)
    payout = Payout(port, world.new.rewards(), world.new.store, world.new.clock, world.orders.append)
    with pytest.raises(RejectedTransactionError, match="no root is pending"):
        payout.finalize()


def test_a_root_for_less_stays_until_it_is_final_then_the_rest_is_proposed(world: World) -> None:
    world.payout().propose()
    world.another_run()
    with pytest.raises(PolicyError, match="another root is pending"):
        world.payout().propose()
    standings = world.payout().standings()
    assert (standings.final_rounds, standings.pending_rounds, standings.faults) == (0, 2, ())
    world.new.clock.forward(WINDOW)
    world.payout().finalize()
    world.pay()
    assert world.vault.paid == sum(world.earned.values())


# standings


def test_earned_final_claimed_and_claimable_are_told_by_account(world: World) -> None:
    account = max(world.earned, key=lambda each: world.earned[each])
    amount = world.earned[account]

    def standing() -> Standing:
        return next(each for each in world.payout().standings().accounts if each.account == account)

    assert standing() == Standing(account, amount, 0, 0)
    world.payout().propose()
    assert standing().claimable == 0
    world.new.clock.forward(WINDOW)
    world.payout().finalize()
    assert (standing().final, standing().claimable) == (amount, amount)
    world.payout().claim(account)
    assert (standing().claimed, standing().claimable) == (amount, 0)


# thieves


def test_a_second_claim_and_a_claim_with_anothers_proof_are_paid_nothing(world: World) -> None:
    world.pay()
    paid = dict(world.vault.claimed)
    port, identity = MemoryRewardVault(world.vault, ANYONE.address), world.vault.identity
    balances = world.new.rewards().report().balances
    tree = reward_tree(identity.chain_id, identity.contract, balances)
    for each in balances:
        proof = tree.proof(reward_leaf(identity.chain_id, identity.contract, each))
        for account, amount in ((each.account, each.cumulative), (ANYONE.address, each.cumulative),
                                (each.account, each.cumulative + 1)):  # fmt: skip
            with pytest.raises(RejectedTransactionError):
                port.claim(account, amount, proof)
    assert world.vault.claimed == paid


@pytest.mark.parametrize(
    "forge",
    [
        lambda report: replace(report, balances=(*report.balances, Balance(b"\xff" * 20, 1)), total=report.total + 1),
        lambda report: replace(report, balances=report.balances[1:]),
        lambda report: replace(
            report, balances=(replace(report.balances[0], cumulative=report.total), *report.balances[1:])
        ),
    ],
    ids=["a stranger's balance", "one left out", "one raised"],
)
def test_a_root_of_other_balances_is_found_and_disputed_and_never_paid_by_us(
    world: World, forge: Callable[[RewardReport], RewardReport]
) -> None:
    forged = forge(world.new.rewards().report())
    identity = world.vault.identity
    root = reward_tree(identity.chain_id, identity.contract, forged.balances).root
    digest = world.new.store.put(document.to_bytes(forged)).digest
    MemoryRewardVault(world.vault, AGGREGATOR.address).propose(root, forged.total, digest)
    assert "is not what the record gives" in world.payout().standings().faults[0]
    world.new.clock.forward(WINDOW - 1)
    for act in (Payout.finalize, Payout.propose):
        with pytest.raises(IntegrityError, match="not what the record gives"):
            act(world.payout())
    assert len(world.payout(sender=OPERATOR).dispute()) == 1
    assert world.vault.pending is None
    world.pay()
    assert world.vault.claimed == {account: amount for account, amount in world.earned.items() if amount}


def test_a_root_that_went_through_with_other_balances_is_found_and_not_claimed_from(world: World) -> None:
    world.vault.root, world.vault.total = b"\x99" * 32, 5
    world.vault.proposals.append(Proposal(b"\x99" * 32, 5, b"\x98" * 32, 0))
    assert "the final root" in world.payout().standings().faults[0]
    for act in (Payout.claim, Payout.propose):
        with pytest.raises(IntegrityError, match="not what the record gives"):
            act(world.payout())


def test_the_right_root_with_an_altered_report_is_found_wherever_it_was_altered(world: World) -> None:
    history = world.new.rewards()
    right = history.report()
    identity = world.vault.identity
    root = reward_tree(identity.chain_id, identity.contract, right.balances).root
    altered = list(_altered(right))
    assert len(altered) > 10
    for report in altered:
        world.vault.pending = Proposal(root, right.total, report.cid().digest, world.new.clock.now() + WINDOW)
        standings = world.payout(history).standings()
        assert len(standings.faults) == 1, report
        assert standings.pending_rounds == 0
    world.vault.pending = Proposal(root, right.total, right.cid().digest, world.new.clock.now() + WINDOW)
    assert world.payout(history).standings().faults == ()
    with pytest.raises(PolicyError, match="nothing to dispute"):
        world.payout(history, OPERATOR).dispute()


def _altered(report: RewardReport) -> Sequence[RewardReport]:
    """The report with each of its numbers and names changed, one at a time."""
    found = [
        replace(report, chain_id=report.chain_id + 1), replace(report, rounds_contract=bytes(20)),
        replace(report, federation=bytes(32)), replace(report, statistic="other"), replace(report, format="other"),
        replace(report, rounds=()), replace(report, rounds=report.rounds[::-1]),
    ]  # fmt: skip
    for number, each in enumerate(report.rounds):
        rounds = [
            replace(each, value=each.value + 1), replace(each, pool=each.pool + 1), replace(each, round=each.round + 1),
            replace(each, run=bytes(32)), replace(each, round_hash=bytes(32)), replace(each, validation=bytes(32)),
        ]  # fmt: skip
        for place, share in enumerate(each.shares):
            others = (
                replace(share, score=share.score + 1), replace(share, pay=share.pay + 1),
                replace(share, cumulative=share.cumulative + 1), replace(share, client=bytes(20)),
            )  # fmt: skip
            before, after = each.shares[:place], each.shares[place + 1 :]
            rounds += [replace(each, shares=(*before, other, *after)) for other in others]
        found += [
            replace(report, rounds=(*report.rounds[:number], one, *report.rounds[number + 1 :])) for one in rounds
        ]
    return found


def test_the_same_root_proposed_again_with_another_report_holds_up_no_claim(world: World) -> None:
    world.payout().propose()
    world.new.clock.forward(WINDOW)
    world.payout().finalize()
    MemoryRewardVault(world.vault, AGGREGATOR.address).propose(world.vault.root, world.vault.total, b"\x98" * 32)
    world.payout(sender=ANYONE).claim()
    assert world.vault.paid == sum(world.earned.values())
    assert len(world.payout().standings().faults) == 1


def test_the_report_of_a_proposal_is_in_the_store_and_is_the_one_recomputed(world: World) -> None:
    world.payout().propose()
    assert world.vault.pending is not None
    data = world.new.store.get(Cid(RAW, world.vault.pending.report))
    assert document.from_bytes(RewardReport, data) == world.new.rewards().report()


# coins


def test_paid_and_unclaimed_are_what_was_put_in(world: World) -> None:
    world.vault.identity = replace(world.vault.identity, terms=replace(TERMS, asset_kind=AssetKind.NATIVE))
    with pytest.raises(PolicyError, match="holds too little"):
        world.payout().propose()
    surplus = 17
    world.vault.fund(sum(world.earned.values()) + surplus)
    world.payout().propose()
    world.new.clock.forward(WINDOW)
    world.payout().finalize()
    accounts = sorted(world.earned)
    for account in accounts:
        world.payout(sender=ANYONE).claim(account)
        unclaimed = sum(each.claimable for each in world.payout().standings().accounts)
        assert world.vault.paid + unclaimed + surplus == world.vault.funded


def paid_in(world: World, kind: AssetKind, purse: int) -> None:
    """Have the vault pay in coins or tokens, of which the sender holds some."""
    asset = b"\x04" * 20 if kind is AssetKind.ERC20 else bytes(20)
    terms = replace(TERMS, asset_kind=kind, asset=asset)
    world.vault = MemoryVault(replace(world.vault.identity, terms=terms), world.new.clock)
    world.vault.purses[AGGREGATOR.address] = purse


@pytest.mark.parametrize("kind", [AssetKind.NATIVE, AssetKind.ERC20])
def test_what_is_missing_is_put_in_once(world: World, kind: AssetKind) -> None:
    earned = sum(world.earned.values())
    paid_in(world, kind, earned + 500)
    assert [each.order.amount for each in world.payout().fund(100) if isinstance(each.order, Fund)] == [100]
    assert world.payout().fund(100) == world.payout().fund(60) == ()
    world.payout().fund()
    assert (world.vault.funded, world.vault.purses[AGGREGATOR.address]) == (earned, 500)
    assert world.payout().fund() == ()
    told = [Fund] if kind is AssetKind.NATIVE else [Allow, Fund]
    assert [type(each) for each in world.orders] == told * 2
    world.pay()
    assert world.vault.paid == earned


def test_an_allowance_is_what_is_put_in_and_no_more(world: World) -> None:
    paid_in(world, AssetKind.ERC20, 1000)
    world.vault.allowed[AGGREGATOR.address] = 70
    world.payout().fund(50)
    assert [each.amount for each in world.orders if isinstance(each, Allow)] == [0, 50]
    assert world.vault.allowed[AGGREGATOR.address] == 0
    world.vault.allowed[AGGREGATOR.address] = 25  # of a command that was cut after it
    world.orders.clear()
    world.payout().fund(75)
    assert [type(each) for each in world.orders] == [Fund]


@pytest.mark.parametrize("kind", [AssetKind.NATIVE, AssetKind.ERC20])
def test_funding_killed_before_or_after_any_write_is_completed_by_repeating_it(world: World, kind: AssetKind) -> None:
    history = world.new.rewards()
    for moment in range(4):
        paid_in(world, kind, 1000)
        port = Dying(world.vault, AGGREGATOR.address, moment)
        with contextlib.suppress(CutError):
            Payout(port, history, world.new.store, world.new.clock, world.orders.append).fund(400)
        world.payout(history).fund(400)
        assert (world.vault.funded, world.vault.purses[AGGREGATOR.address]) == (400, 600)


def test_too_little_to_put_in_and_credits_are_refused(world: World) -> None:
    with pytest.raises(InputError, match="credits are counted"):
        world.payout().fund(5)
    paid_in(world, AssetKind.ERC20, 4)
    with pytest.raises(InputError, match="holds too little to put in: expected 5 units, got 4"):
        world.payout().fund(5)
    assert world.orders == []


# crashes and races


class Dying(MemoryRewardVault):
    """A vault whose caller dies before or after one of its writes."""

    def __init__(self, vault: MemoryVault, sender: bytes, moment: int) -> None:
        super().__init__(vault, sender)
        self._left = moment

    def _pass(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise CutError

    def allow(self, amount: int) -> bytes:
        self._pass()
        done = super().allow(amount)
        self._pass()
        return done

    def fund(self, amount: int) -> bytes:
        self._pass()
        done = super().fund(amount)
        self._pass()
        return done

    def propose(self, root: bytes, total: int, report: bytes) -> bytes:
        self._pass()
        done = super().propose(root, total, report)
        self._pass()
        return done

    def finalize(self) -> bytes:
        self._pass()
        done = super().finalize()
        self._pass()
        return done

    def claim(self, account: bytes, cumulative: int, proof: Sequence[bytes]) -> bytes:
        self._pass()
        done = super().claim(account, cumulative, proof)
        self._pass()
        return done


@pytest.mark.parametrize("act", [Payout.propose, Payout.finalize, Payout.claim])
def test_an_act_killed_before_or_after_any_write_is_completed_by_repeating_it(
    world: World, act: Callable[[Payout], tuple[Done, ...]]
) -> None:
    history = world.new.rewards()
    for moment in range(2 * len(world.earned)):
        world.vault = MemoryVault(world.vault.identity, world.new.clock)
        for each in (Payout.propose, Payout.finalize, Payout.claim):
            if each is act:
                port = Dying(world.vault, AGGREGATOR.address, moment)
                dying = Payout(port, history, world.new.store, world.new.clock, world.orders.append)
                try:
                    each(dying)
                except CutError:
                    each(world.payout(history))
            else:
                each(world.payout(history))
            world.new.clock.forward(WINDOW)
        assert world.vault.claimed == {account: amount for account, amount in world.earned.items() if amount}
        assert len(world.vault.proposals) == 1


class Late(MemoryRewardVault):
    """A vault on which somebody else acts first, between our look and our transaction."""

    def propose(self, root: bytes, total: int, report: bytes) -> bytes:
        super().propose(root, total, report)
        return super().propose(root, total, report)

    def finalize(self) -> bytes:
        super().finalize()
        return super().finalize()

    def claim(self, account: bytes, cumulative: int, proof: Sequence[bytes]) -> bytes:
        super().claim(account, cumulative, proof)
        return super().claim(account, cumulative, proof)


def test_who_comes_second_sees_that_it_is_done(world: World) -> None:
    port = Late(world.vault, AGGREGATOR.address)
    payout = Payout(port, world.new.rewards(), world.new.store, world.new.clock, world.orders.append)
    assert [each.transaction for each in payout.propose()] == [b""]
    world.new.clock.forward(WINDOW)
    assert [each.transaction for each in payout.finalize()] == [b""]
    assert {each.transaction for each in payout.claim()} == {b""}
    assert world.vault.paid == sum(world.earned.values())


def test_a_refusal_that_left_nothing_done_is_told(world: World) -> None:
    with pytest.raises(RejectedTransactionError, match="not the distributor"):
        world.payout(sender=ANYONE).propose()
