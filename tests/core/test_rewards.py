"""Splitting a pool: nothing is lost or made, order does not matter, a copy earns nothing, balances only grow."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.cid import cid_of
from fedchain.core.merkle import proves
from fedchain.core.rewards import (
    Balance,
    RewardHistory,
    RewardReport,
    RoundRewards,
    Share,
    pays,
    reward_leaf,
    reward_tree,
    split,
)
from tests.core.samples import addresses, bytes32

scores = st.integers(-(2**40), 2**40)
pools = st.integers(0, 2**53 - 1)


@given(pools, st.lists(scores, max_size=8))
def test_a_split_gives_all_of_the_pool_or_nothing(pool: int, each: list[int]) -> None:
    parts = split(pool, each)
    assert sum(parts) == (pool if any(score > 0 for score in each) else 0)
    assert all(part == 0 for part, score in zip(parts, each, strict=True) if score <= 0)
    assert all(part >= 0 for part in parts)


@given(pools, st.lists(scores, min_size=1, max_size=8))
def test_a_part_is_within_one_unit_of_its_exact_share(pool: int, each: list[int]) -> None:
    total = sum(max(score, 0) for score in each)
    for part, score in zip(split(pool, each), each, strict=True):
        assert abs(part * total - pool * max(score, 0)) < max(total, 1)


def test_the_largest_remainders_take_what_is_left_and_ties_go_by_place() -> None:
    assert split(10, [1, 1, 1]) == (4, 3, 3)
    assert split(11, [1, 1, 1]) == (4, 4, 3)
    assert split(10, [3, 0, 3, -5, 1]) == (4, 0, 4, 0, 2)
    assert split(1, [1, 2]) == (0, 1)
    assert split(100, [0, -1]) == (0, 0)
    assert split(100, []) == ()


@st.composite
def rounds(draw: st.DrawFn) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
    """Scores by digest, and each client's digest; some share one."""
    by_digest = draw(st.dictionaries(bytes32, st.integers(-50, 50), min_size=1, max_size=5))
    clients = draw(st.dictionaries(addresses, st.sampled_from(sorted(by_digest)), min_size=1, max_size=7))
    return {digest: by_digest[digest] for digest in clients.values()}, clients


@given(pools, rounds())
def test_the_order_in_which_clients_are_named_does_not_matter(
    pool: int, drawn: tuple[dict[bytes, int], dict[bytes, bytes]]
) -> None:
    by_digest, clients = drawn
    paid = pays(pool, by_digest, clients)
    assert paid == pays(pool, dict(reversed(by_digest.items())), dict(reversed(clients.items())))
    assert sum(paid.values()) == (pool if max(by_digest.values()) > 0 else 0)


@given(pools, rounds(), addresses)
def test_a_copy_shares_one_pay_and_takes_from_nobody_else(
    pool: int, drawn: tuple[dict[bytes, int], dict[bytes, bytes]], newcomer: bytes
) -> None:
    by_digest, clients = drawn
    original = max(clients)
    copier = max(newcomer, original)  # a later address, so that ties between other digests stay as they are
    if copier == original:
        return
    before, after = pays(pool, by_digest, clients), pays(pool, by_digest, {**clients, copier: clients[original]})
    sharers = {client for client, digest in clients.items() if digest == clients[original]}
    for client in set(clients) - sharers:
        assert after[client] == before[client]
    assert sum(after[client] for client in {*sharers, copier}) == sum(before[client] for client in sharers)
    assert max(after[each] for each in {*sharers, copier}) - min(after[each] for each in {*sharers, copier}) <= 1


def test_ties_between_updates_go_to_the_lower_address_whatever_their_digests_are() -> None:
    low, high = b"\x01" * 20, b"\x02" * 20
    for one, two in ((b"\x07" * 32, b"\x08" * 32), (b"\x08" * 32, b"\x07" * 32)):
        assert pays(3, {one: 5, two: 5}, {high: two, low: one}) == {low: 2, high: 1}


A, B = b"\x0a" * 20, b"\x0b" * 20
FIRST = RoundRewards(b"\x01" * 32, 1, b"\x02" * 32, b"\x03" * 32, 10, 90, (Share(A, 3, 10, 10), Share(B, -4, 0, 0)))
SECOND = replace(FIRST, round=2, shares=(Share(B, 5, 10, 10),))
HISTORY = RewardHistory(1337, b"\x04" * 20, b"\x05" * 32, "ranked-pairs/1", (FIRST, SECOND))


def test_a_report_holds_the_balances_after_its_rounds() -> None:
    assert HISTORY.report(0).balances == ()
    assert HISTORY.report(1).balances == (Balance(A, 10), Balance(B, 0))
    assert HISTORY.report().balances == (Balance(A, 10), Balance(B, 10))
    assert [HISTORY.report(length).total for length in range(3)] == [0, 10, 20]
    assert list(HISTORY.balances()) == [HISTORY.report(length).balances for length in range(3)]


def test_a_report_is_a_document_named_by_its_bytes() -> None:
    report = HISTORY.report()
    assert document.from_bytes(RewardReport, document.to_bytes(report)) == report
    assert report.cid() == cid_of(document.to_bytes(report))
    assert replace(report, total=21).cid() != report.cid()


@given(st.dictionaries(addresses, st.integers(0, 2**256 - 1), min_size=1, max_size=6), st.integers(0, 2**64), addresses)
def test_every_balance_proves_itself_on_its_chain_and_vault_only(
    earned: dict[bytes, int], chain_id: int, vault: bytes
) -> None:
    balances = tuple(Balance(*each) for each in sorted(earned.items()))
    tree = reward_tree(chain_id, vault, balances)
    for each in balances:
        proof = tree.proof(reward_leaf(chain_id, vault, each))
        assert proves(tree.root, reward_leaf(chain_id, vault, each), proof)
        stranger = bytes([vault[0] ^ 1]) + vault[1:]
        for leaf in (
            reward_leaf(chain_id + 1, vault, each),
            reward_leaf(chain_id, stranger, each),
            reward_leaf(chain_id, vault, replace(each, cumulative=each.cumulative ^ 1)),
        ):
            assert not proves(tree.root, leaf, proof)


@pytest.mark.parametrize("amount", [-1, 2**256])
def test_an_amount_that_no_vault_can_hold_is_refused(amount: int) -> None:
    with pytest.raises(Exception, match="uint256"):
        reward_leaf(1, A, Balance(A, amount))
