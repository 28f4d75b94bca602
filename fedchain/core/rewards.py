"""Rewards: what a round pays for each update, in whole units, and the documents that say so.

A round's pool is split over the scores by largest remainder. A score that is not positive pays nothing, and a round
without a positive score pays nobody. Updates with one digest have one score and share one pay, so that a copy, or one
update under many keys, earns nothing that its original would not have earned alone.

Pay is added up by client over every run of a federation: the vault pays the difference between what a client has
earned so far and what it has claimed so far.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedchain.core import document
from fedchain.core.cid import Cid, cid_of
from fedchain.core.digest import Digest
from fedchain.core.merkle import MerkleTree, leaf_hash

REPORT_FORMAT: Final = "fedchain/rewards/1"
_LEAF_KINDS: Final = ("uint256", "address", "address", "uint256")


@dataclass(frozen=True, slots=True)
class Share:
    """A client's part of one round: the score of its update, its pay, and all that it has earned up to here."""

    client: bytes
    score: int
    pay: int
    cumulative: int


@dataclass(frozen=True, slots=True)
class RoundRewards:
    """A sealed round that pays: its hash, the value of the model that was scored, and one share for each update."""

    run: bytes
    round: int
    round_hash: bytes
    validation: bytes
    pool: int
    value: int
    shares: tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Balance:
    """All that an account has earned in the federation."""

    account: bytes
    cumulative: int


@dataclass(frozen=True, slots=True)
class RewardReport:
    """The scores behind a root: every paying round of the federation in ledger order, and the balances after them."""

    format: str
    chain_id: int
    rounds_contract: bytes
    federation: bytes
    statistic: str
    rounds: tuple[RoundRewards, ...]
    balances: tuple[Balance, ...]
    total: int

    def cid(self) -> Cid:
        """Return the name under which the report is stored; its digest goes to the vault."""
        return cid_of(document.to_bytes(self))


@dataclass(frozen=True, slots=True)
class RewardHistory:
    """Every paying round of a federation, in ledger order: one report for each beginning of it."""

    chain_id: int
    rounds_contract: bytes
    federation: bytes
    statistic: str
    rounds: tuple[RoundRewards, ...]

    def balances(self) -> Iterator[tuple[Balance, ...]]:
        """Yield the balances, by account, before the first round and after each."""
        earned: dict[bytes, int] = {}
        yield ()
        for round_ in self.rounds:
            earned |= {share.client: share.cumulative for share in round_.shares}
            yield tuple(Balance(account, earned[account]) for account in sorted(earned))

    def report(self, length: int | None = None) -> RewardReport:
        """Return the report after so many paying rounds, or after all."""
        rounds = self.rounds[:length]
        *_, balances = replace(self, rounds=rounds).balances()
        total = sum(each.cumulative for each in balances)
        return RewardReport(
            REPORT_FORMAT, self.chain_id, self.rounds_contract, self.federation, self.statistic, rounds, balances, total
        )


def split(pool: int, scores: Sequence[int]) -> tuple[int, ...]:
    """Split a pool over scores by largest remainder; of equal remainders the earlier place comes first.

    The parts add up to the pool, or all are 0 where no score is positive.
    """
    counted = [max(score, 0) for score in scores]
    total = sum(counted)
    if not total:
        return (0,) * len(counted)
    parts = [pool * score // total for score in counted]
    by_remainder = sorted(range(len(parts)), key=lambda place: (-(pool * counted[place] % total), place))
    for place in by_remainder[: pool - sum(parts)]:
        parts[place] += 1
    return tuple(parts)


def pays(pool: int, scores: Mapping[Digest, int], clients: Mapping[bytes, Digest]) -> dict[bytes, int]:
    """Return each client's pay; clients with one update digest share its pay, the first by address one unit more.

    Args:
        pool: what the round pays at most.
        scores: by update digest.
        clients: each client's update digest.
    """
    sharers: dict[Digest, list[bytes]] = {}
    for client in sorted(clients):
        sharers.setdefault(clients[client], []).append(client)
    # The digests of noisy updates are anybody's guess, so ties go by the first client's address.
    order = list(sharers)
    pay: dict[bytes, int] = {}
    for digest, part in zip(order, split(pool, [scores[each] for each in order]), strict=True):
        among = sharers[digest]
        pay |= dict(zip(among, split(part, [1] * len(among)), strict=True))
    return pay


def reward_leaf(chain_id: int, vault: bytes, balance: Balance) -> Digest:
    """Return the leaf that lets an account claim: it holds on one chain, in one vault, for one account."""
    return leaf_hash(_LEAF_KINDS, [chain_id, vault, balance.account, balance.cumulative])


def reward_tree(chain_id: int, vault: bytes, balances: Sequence[Balance]) -> MerkleTree:
    """Return the tree over all balances, those of 0 included."""
    return MerkleTree.of([reward_leaf(chain_id, vault, each) for each in balances])
