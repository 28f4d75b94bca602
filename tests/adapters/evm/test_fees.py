"""What a transaction may cost: never more than the cap, and a tenth more to replace a stuck one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.evm.fees import FeePolicy, Fees

WEI = st.integers(0, 10**13)
POLICIES = st.builds(
    lambda tip, more, bump: FeePolicy(tip + more, tip, bump), st.integers(0, 10**12), WEI, st.integers(10, 100)
)


def test_an_offer_lasts_for_a_doubled_base_fee() -> None:
    assert FeePolicy(cap=100, max_tip=10).offer(30, 3) == Fees(63, 3)


def test_an_offer_is_cut_at_the_cap() -> None:
    assert FeePolicy(cap=50, max_tip=10).offer(30, 3) == Fees(50, 3)


def test_the_tip_that_a_node_suggests_is_bounded() -> None:
    assert FeePolicy(cap=100, max_tip=10).offer(30, 10**18) == Fees(70, 10)
    assert FeePolicy(cap=100, max_tip=10).offer(30, -5) == Fees(60, 0)


def test_a_market_above_the_cap_has_no_offer() -> None:
    policy = FeePolicy(cap=50, max_tip=10)
    assert policy.offer(41, 10) is None
    assert policy.offer(40, 10) == Fees(50, 10)
    assert policy.replacement(Fees(10, 1), 41, 10) is None


def test_a_replacement_raises_both_fees_by_a_tenth_and_follows_the_market() -> None:
    policy = FeePolicy(cap=10**6, max_tip=1000, bump_percent=10)
    assert policy.replacement(Fees(1000, 100), 10, 1) == Fees(1100, 110)
    assert policy.replacement(Fees(1000, 100), 2000, 500) == Fees(4500, 500)
    assert policy.replacement(Fees(7, 0), 1, 0) == Fees(8, 1)


@given(policy=POLICIES, base_fee=WEI, tip=st.integers(-10, 10**13), last=st.builds(Fees, WEI, WEI))
def test_the_cap_is_never_passed_and_nodes_take_every_replacement(
    policy: FeePolicy, base_fee: int, tip: int, last: Fees
) -> None:
    offer = policy.offer(base_fee, tip)
    if offer is not None:
        assert base_fee + offer.tip <= offer.max_fee <= policy.cap
        assert 0 <= offer.tip <= policy.max_tip
    raised = policy.replacement(last, base_fee, tip)
    if raised is not None:
        assert raised.max_fee <= policy.cap
        assert raised.max_fee * 10 >= last.max_fee * 11
        assert raised.tip * 10 >= last.tip * 11


@pytest.mark.parametrize("wrong", [{"bump_percent": 9}, {"cap": 5, "max_tip": 6}, {"max_tip": -1}])
def test_a_policy_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected|refuse"):
        FeePolicy(**wrong)
