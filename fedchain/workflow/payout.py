"""Paying what was earned: the vault beside the re-derived history, and the few transactions between them.

Nothing is journaled, because the vault remembers: each act first reads what is already done and does only what is
missing, so a repeated command pays nothing twice and loses nothing. A root is proposed, made final or claimed from only
where it is the one that the record gives; any other pending root can be disputed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fedchain.core import document
from fedchain.core.digest import ZERO, hex32
from fedchain.core.errors import InputError, IntegrityError, PolicyError, RejectedTransactionError
from fedchain.core.rewards import Balance, RewardHistory, reward_leaf, reward_tree
from fedchain.ports.clock import Clock
from fedchain.ports.rewards import AssetKind, Proposal, RewardVault, VaultIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.payments import Allow, Announce, Claim, Dispute, Done, Finalize, Fund, Order, Propose


@dataclass(frozen=True, slots=True)
class Standing:
    """One account: all that it has earned, what of it a final root covers, and what it was paid."""

    account: bytes
    earned: int
    final: int
    claimed: int

    @property
    def claimable(self) -> int:
        """What a claim would pay now."""
        return max(self.final - self.claimed, 0)


@dataclass(frozen=True, slots=True)
class Standings:
    """The vault beside the history. Counts are of paying rounds that the final and the pending root cover.

    A root that no beginning of the history gives is in `faults`, and covers nothing.
    """

    accounts: tuple[Standing, ...]
    final_rounds: int
    pending_rounds: int
    pending: Proposal | None
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Payout:
    """A vault, the history of what was earned, and whom to tell of each transaction before it is sent."""

    vault: RewardVault
    history: RewardHistory
    store: ArtifactStore
    clock: Clock
    announce: Announce

    def standings(self) -> Standings:
        """Compare the vault with the history."""
        faults: list[str] = []
        final, pending = self._final(), self.vault.pending()
        final_rounds = self._covered(final, "final", faults)
        pending_rounds = self._covered(pending, "pending", faults)
        balances = {each.account: each.cumulative for each in self.history.report(final_rounds).balances}
        accounts = tuple(
            Standing(each.account, each.cumulative, balances.get(each.account, 0), self.vault.claimed(each.account))
            for each in self.history.report().balances
        )
        faults += [
            f"{hex32(each.account)} was paid {each.claimed}, which is more than the {each.final} that it has earned"
            for each in accounts
            if each.claimed > each.final
        ]
        return Standings(accounts, final_rounds, pending_rounds, pending, tuple(faults))

    def fund(self, total: int | None = None) -> tuple[Done, ...]:
        """Put in what is missing to a total, or to all that was earned; nothing if so much was put in before.

        Raises:
            InputError: if the vault pays in credits, or the sender holds too little.
        """
        identity = self.vault.identity()
        if identity.terms.asset_kind is AssetKind.CREDITS:
            raise InputError("credits are counted and not put in", remedy="`fedchain rewards propose` needs nothing")
        wanted = self.history.report().total if total is None else total
        amount = wanted - self.vault.funded()
        if amount <= 0:
            return ()
        purse = self.vault.purse()
        if purse < amount:
            raise InputError("the sender holds too little to put in", expected=f"{amount} units", got=purse)
        done = self._allow(identity, amount) if identity.terms.asset_kind is AssetKind.ERC20 else []
        order = Fund(identity, amount, wanted)
        done.append(self._send(order, lambda: self.vault.fund(amount), lambda: self.vault.funded() >= wanted))
        return tuple(done)

    def _allow(self, identity: VaultIdentity, amount: int) -> list[Done]:
        """Allow as much as is put in. Some tokens change an allowance only from or to zero."""
        allowed = self.vault.allowed()
        steps = [] if allowed == amount else [amount] if allowed == 0 else [0, amount]
        done: list[Done] = []
        for step in steps:
            self.announce(Allow(identity, step))
            done.append(Done(Allow(identity, step), self.vault.allow(step)))
        return done

    def propose(self) -> tuple[Done, ...]:
        """Put up the root of all that was earned so far, and its report; nothing if it is up or final already.

        Raises:
            PolicyError: if another root is pending, or the vault holds too little.
            IntegrityError: if the root that pays is not what the record gives.
        """
        report, identity = self.history.report(), self.vault.identity()
        root = _root(identity, report.balances)
        self._check(self._final())
        if not report.total or self.vault.root() == root:
            return ()
        pending = self.vault.pending()
        if pending is not None:
            self._check(pending)
            if pending.root == root:
                return ()
            raise PolicyError(
                "another root is pending", expected="none", got=hex32(pending.root),
                remedy="make it final after its window, then propose again",
            )  # fmt: skip
        if identity.terms.asset_kind is not AssetKind.CREDITS and self.vault.funded() < report.total:
            raise PolicyError(
                "the vault holds too little", expected=f"{report.total} units put in", got=self.vault.funded(),
                remedy=f"`fedchain rewards fund`, or call fund on {hex32(identity.contract)}",
            )  # fmt: skip
        digest = self.store.put(document.to_bytes(report)).digest
        order = Propose(identity, root, report)
        return (self._send(order, lambda: self.vault.propose(root, report.total, digest), self._is_up(root)),)

    def finalize(self) -> tuple[Done, ...]:
        """Make the pending root the one that pays; nothing if none is pending.

        The window is in the ledger's time. On an idle ledger the newest block is old, and the next one will have the
        present time: there this machine's clock counts, and where that is fast the vault itself refuses.

        Raises:
            PolicyError: if its window is still open.
            IntegrityError: if it is not what the record gives: the guardian should dispute it.
        """
        pending = self.vault.pending()
        if pending is None:
            return ()
        self._check(pending)
        newest = self.vault.time()
        present = max(newest, self.clock.now())
        if present < pending.claimable_at:
            raise _window_open(pending.claimable_at - present)
        order = Finalize(self.vault.identity(), pending)
        try:
            return (self._send(order, self.vault.finalize, lambda: self.vault.root() == pending.root),)
        except RejectedTransactionError as error:
            if newest < pending.claimable_at and self.vault.pending() == pending:
                raise _window_open(pending.claimable_at - newest) from error
            raise

    def dispute(self) -> tuple[Done, ...]:
        """Cancel the pending root if it is not what the record gives; nothing if none is pending.

        Raises:
            PolicyError: if it is what the record gives.
        """
        pending = self.vault.pending()
        if pending is None:
            return ()
        if self._rounds(pending) is not None:
            raise PolicyError("nothing to dispute: the pending root is what the record gives", got=hex32(pending.root))
        order = Dispute(self.vault.identity(), pending)
        return (self._send(order, lambda: self.vault.dispute(pending.root), lambda: self.vault.pending() is None),)

    def claim(self, account: bytes | None = None) -> tuple[Done, ...]:
        """Have an account, or every account, paid what the final root gives it and it has not had.

        Raises:
            InputError: if the account has earned nothing in this federation.
            IntegrityError: if the final root is not what the record gives.
        """
        final = self._final()
        self._check(final)
        balances = () if final is None else self.history.report(self._rounds(final)).balances
        accounts = {each.account for each in self.history.report().balances}
        if account is not None and account not in accounts:
            raise InputError("account", expected="a client of this federation", got=hex32(account))
        chosen = [each for each in balances if account in (None, each.account)]
        return tuple(self._pay(each, balances) for each in chosen if each.cumulative > self.vault.claimed(each.account))

    def _pay(self, balance: Balance, balances: tuple[Balance, ...]) -> Done:
        identity = self.vault.identity()
        tree = reward_tree(identity.chain_id, identity.contract, balances)
        proof = tree.proof(reward_leaf(identity.chain_id, identity.contract, balance))
        account, cumulative = balance.account, balance.cumulative
        order = Claim(identity, account, cumulative - self.vault.claimed(account), cumulative)
        return self._send(
            order,
            lambda: self.vault.claim(account, cumulative, proof),
            lambda: self.vault.claimed(account) >= cumulative,
        )

    def _send(self, order: Order, act: Callable[[], bytes], is_done: Callable[[], bool]) -> Done:
        self.announce(order)
        try:
            return Done(order, act())
        except RejectedTransactionError:
            # Ours of before a crash, confirmed only now, or somebody else's: the vault refuses a second one.
            if not is_done():
                raise
            return Done(order, b"")

    def _is_up(self, root: bytes) -> Callable[[], bool]:
        def is_up() -> bool:
            pending = self.vault.pending()
            return self.vault.root() == root or (pending is not None and pending.root == root)

        return is_up

    def _final(self) -> Proposal | None:
        """The proposal of the root that pays."""
        root = self.vault.root()
        if root == ZERO:
            return None
        total = self.vault.total()
        known = [each for each in self.vault.proposals() if (each.root, each.total) == (root, total)]
        # Whoever proposes the same root again with another report must not hold up what is final.
        fitting = (each for each in known if self._rounds(each) is not None)
        return next(fitting, known[-1] if known else Proposal(root, total, ZERO, 0))

    def _check(self, proposal: Proposal | None) -> None:
        if proposal is not None and self._rounds(proposal) is None:
            raise IntegrityError(
                "a root of the vault is not what the record gives", got=hex32(proposal.root),
                remedy="recompute it with `fedchain rewards`; the guardian can dispute a pending one",
            )  # fmt: skip

    def _covered(self, proposal: Proposal | None, what: str, faults: list[str]) -> int:
        if proposal is None:
            return 0
        rounds = self._rounds(proposal)
        if rounds is None:
            faults.append(f"the {what} root {hex32(proposal.root)} is not what the record gives, or its report is not")
            return 0
        return rounds

    def _rounds(self, proposal: Proposal) -> int | None:
        """Return how many paying rounds a root covers, or None where root, total and report fit no beginning."""
        identity = self.vault.identity()
        beginnings = list(self.history.balances())
        for length in reversed(range(len(beginnings))):
            if _root(identity, beginnings[length]) == proposal.root:
                report = self.history.report(length)
                if (report.total, report.cid().digest) == (proposal.total, proposal.report):
                    return length
        return None


def _window_open(left_s: int) -> PolicyError:
    return PolicyError(
        "the dispute window is open", expected="its end", got=f"{left_s} s left", remedy="repeat the command then"
    )


def _root(identity: VaultIdentity, balances: tuple[Balance, ...]) -> bytes:
    return reward_tree(identity.chain_id, identity.contract, balances).root
