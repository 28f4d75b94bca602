"""Server optimisers: what they compute, in which bits, and what they refuse."""

from __future__ import annotations

from math import sqrt
from struct import pack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError
from fedchain.core.errors import FormatError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.optimiser import ADAM, MOMENTUM, ServerOptimiser, state_digest
from fedchain.core.tensors import IntTensors, TensorSchema, decode, encode
from tests.core.samples import FEW

MOMENTUMS = ServerOptimiser(MOMENTUM, "0.5", "0.9", "0", "0")
ADAMS = ServerOptimiser(ADAM, "0.01", "0.9", "0.99", "0.001")
ENCODING = FixedPoint()
BASE: IntTensors = {"bias": np.array([5], "<i4"), "weight": np.array([[1 << 24, -3], [0, 7]], "<i4")}
MEAN = {"bias": np.array([-(1 << 20)], np.int64), "weight": np.array([[12345, 0], [-1, 1 << 22]], np.int64)}


def steps(optimiser: ServerOptimiser, count: int) -> tuple[IntTensors, bytes]:
    model, state = optimiser.step(BASE, MEAN, None, ENCODING)
    for _ in range(count - 1):
        model, state = optimiser.step(model, MEAN, state, ENCODING)
    return model, state


def test_momentum_is_a_weighted_sum_of_the_means() -> None:
    model, _ = steps(MOMENTUMS, 3)
    for name, base in BASE.items():
        x, m = base.astype(float), np.zeros(base.shape)
        for _ in range(3):
            m = 0.9 * m + MEAN[name]
            x = np.rint(x + 0.5 * m)
        assert np.abs(model[name] - x).max() <= 1


def test_adam_steps_by_the_rate_wherever_the_mean_points() -> None:
    model, _ = ADAMS.step(BASE, MEAN, None, ENCODING)
    for name, base in BASE.items():
        d = MEAN[name] / 2**24
        expected = 0.01 * 0.1 * d / (np.sqrt((1 - 0.99) * d * d) + 0.001)
        np.testing.assert_allclose((model[name] - base) / 2**24, expected, atol=2**-24, rtol=0)


def test_one_number_at_a_time_gives_the_same_bits() -> None:
    """Python's own floats, in the order that docs/format.md writes."""
    _, bits = steps(ADAMS, 4)
    d = float(MEAN["weight"][0, 0]) * 2.0**-24
    m = v = 0.0
    for _ in range(4):
        m = 0.9 * m + (1.0 - 0.9) * d
        v = 0.99 * v + (1.0 - 0.99) * (d * d)
    words = decode(bits)
    assert (words["m/weight"][0, 0].tobytes(), words["v/weight"][0, 0].tobytes()) == (pack("<d", m), pack("<d", v))
    before = float(steps(ADAMS, 3)[0]["weight"][0, 0])
    stepped = before + round(0.01 * m / (sqrt(v) + 0.001) * 2.0**24)
    assert steps(ADAMS, 4)[0]["weight"][0, 0] == stepped


@pytest.mark.parametrize(
    ("optimiser", "model", "state"),
    [
        (MOMENTUMS, "28c60893507f1647", "0dee5359f779867f"),
        (ADAMS, "a7548899579641b2", "97aa5bfc4684a070"),
    ],
    ids=["momentum", "adam"],
)
def test_the_bits_are_those_of_every_machine(optimiser: ServerOptimiser, model: str, state: str) -> None:
    after, bits = steps(optimiser, 5)
    assert (state_digest(encode(after)).hex()[:16], state_digest(bits).hex()[:16]) == (model, state)


@FEW
@given(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=20), st.sampled_from([MOMENTUMS, ADAMS]))
def test_the_state_is_kept_bit_for_bit(values: list[int], optimiser: ServerOptimiser) -> None:
    base = {"w": np.zeros(len(values), "<i4")}
    _, state = optimiser.step(base, {"w": np.array(values, np.int64)}, None, FixedPoint())
    kept = decode(state)["m/w"]
    assert kept.shape == (len(values), 2)
    first = np.array(values) * 2.0**-24 * (1.0 if optimiser is MOMENTUMS else 1.0 - 0.9)
    assert np.ascontiguousarray(kept).view("<f8")[:, 0].tobytes() == first.tobytes()


def test_the_mean_is_the_rounded_one_of_the_exact_sum() -> None:
    total = ExactSum(TensorSchema.of(BASE))
    total.add(BASE, 3)
    total.add({name: np.zeros_like(each) for name, each in BASE.items()}, 3)
    assert total.mean()["weight"].tolist() == [[1 << 23, -2], [0, 4]]  # -1.5 and 3.5, half to even


def test_a_state_of_another_model_or_rule_is_refused() -> None:
    _, state = steps(MOMENTUMS, 1)
    with pytest.raises(FormatError, match="a state of this model"):
        ADAMS.step(BASE, MEAN, state, ENCODING)
    with pytest.raises(FormatError, match="a state of this model"):
        MOMENTUMS.step({"bias": BASE["bias"]}, MEAN, state, ENCODING)


def test_a_step_out_of_range_and_a_state_that_is_not_finite_are_refused() -> None:
    large = ServerOptimiser(MOMENTUM, "999999", "0.9", "0", "0")
    with pytest.raises(ModelOutOfRangeError):
        large.step(BASE, {name: each + (1 << 30) for name, each in MEAN.items()}, None, ENCODING)
    infinite = {name: np.full((*each.shape, 2), [0, 0x7FF00000], "<i4") for name, each in BASE.items()}
    with pytest.raises(ModelOutOfRangeError):
        MOMENTUMS.step(BASE, MEAN, encode({f"m/{name}": each for name, each in infinite.items()}), ENCODING)
