from __future__ import annotations

import dataclasses
import hashlib
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core import document
from fedchain.core.messages import UNBOUNDED
from fedchain.core.privacy import (
    DpParams,
    Release,
    batches_per_epoch,
    epsilon_of,
    merged,
    micro_epsilon,
)
from tests.core.samples import FEW, documents

releases = st.lists(
    st.builds(Release, st.integers(0, 3), st.integers(1, 3), st.integers(1, 1000)), max_size=8
)  # few kinds, so that some meet


@given(st.floats(0, 1e12))
def test_micro_epsilon_is_the_least_whole_number_that_is_not_below(epsilon: float) -> None:
    micro = micro_epsilon(epsilon)
    assert micro - 1 < Fraction(epsilon) * 10**6 <= micro


@pytest.mark.parametrize("epsilon", [0.0, 5e-324, 1e-6, 8.0, 0.1, 1.0000001, 2.0**40 + 2.0**-12])
def test_privacy_spent_is_never_rounded_down(epsilon: float) -> None:
    assert Fraction(micro_epsilon(epsilon), 10**6) >= Fraction(epsilon)


@given(st.integers(0, 10**12))
def test_a_micro_epsilon_survives_its_way_through_a_float(micro: int) -> None:
    assert micro <= micro_epsilon(epsilon_of(micro)) <= micro + 1


def test_no_bound_is_told_apart_from_every_bound() -> None:
    assert micro_epsilon(math.inf) == UNBOUNDED
    assert epsilon_of(UNBOUNDED) == math.inf
    assert epsilon_of(UNBOUNDED - 1) < math.inf


@FEW
@given(releases, st.randoms(use_true_random=False))
def test_merging_ignores_order_and_keeps_every_step(each: list[Release], random: Any) -> None:
    result = merged(each)
    assert merged(random.sample(each, len(each))) == result == merged(result)
    kinds = [(one.noise_multiplier_e6, one.batches_per_epoch) for one in result]
    assert kinds == sorted(set(kinds))
    for one in result:
        same = [x.steps for x in each if (x.noise_multiplier_e6, x.batches_per_epoch) == kinds[result.index(one)]]
        assert one.steps == sum(same)
    assert sum(one.steps for one in result) == sum(one.steps for one in each)


@FEW
@given(releases, releases)
def test_merging_parts_first_gives_the_same(one: list[Release], other: list[Release]) -> None:
    assert merged([*merged(one), *merged(other)]) == merged(one + other)


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_batches_cover_the_nominal_size_with_none_to_spare(nominal_size: int, batch_size: int) -> None:
    batches = batches_per_epoch(nominal_size, batch_size)
    assert (batches - 1) * batch_size < nominal_size <= batches * batch_size


def test_a_release_tells_its_real_parameters() -> None:
    release = Release(1_250_000, 8, 40)
    assert (release.noise_multiplier, release.sample_rate, release.is_protected) == (1.25, 0.125, True)
    assert not Release(0, 8, 40).is_protected


@FEW
@given(documents(DpParams), documents(DpParams))
def test_the_signed_digest_covers_every_parameter(one: DpParams, other: DpParams) -> None:
    for field in dataclasses.fields(DpParams):
        changed = dataclasses.replace(one, **{field.name: getattr(other, field.name)})
        assert (changed.digest() == one.digest()) == (changed == one)


@FEW
@given(documents(DpParams))
def test_the_digest_is_of_the_canonical_document(params: DpParams) -> None:
    expected = hashlib.sha256(b"fedchain/dp-params/1\x00" + document.to_bytes(params)).digest()
    assert params.digest() == expected
    assert params.release == Release(params.noise_multiplier_e6, params.batches_per_epoch, params.steps)
