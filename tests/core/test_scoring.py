"""The integer forward pass and its statistic: exact, as fractions say, for any model that decodes."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.errors import FormatError, InputError
from fedchain.core.scoring import ValidationSet, logits, ranked_pairs, validation_digest, value
from fedchain.core.tensors import IntTensors, encode
from tests.core.samples import FEW, int_arrays

LIMIT = 2**31 - 1


def round_half_even(number: Fraction) -> int:
    return round(number)  # Python's own rounding of fractions is half to even


def by_fractions(model: IntTensors, features: Any, fraction_bits: int) -> list[int]:
    """The documented arithmetic in Python's integers, one row and one unit at a time."""
    layers = [f"hidden{number}" for number in range(1, len(model) // 2)] + ["output"]
    found: list[int] = []
    for inputs in features.tolist():
        row, sums = inputs, [0]
        for layer in layers:
            weight, bias = model[f"{layer}.weight"].tolist(), model[f"{layer}.bias"].tolist()
            sums = [
                sum(w * x for w, x in zip(unit, row, strict=True)) + (b << fraction_bits)
                for unit, b in zip(weight, bias, strict=True)
            ]
            row = [min(max(round_half_even(Fraction(each, 1 << fraction_bits)), 0), LIMIT) for each in sums]
        found.append(sums[0])
    return found


@st.composite
def models(draw: st.DrawFn) -> tuple[IntTensors, Any, int]:
    """A model of up to two hidden layers, rows that fit it, and the fraction bits; any int32 may occur."""
    widths = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 3)))] + [1]
    model: IntTensors = {}
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        name = "output" if number == len(widths) - 1 else f"hidden{number}"
        model[f"{name}.weight"] = draw(int_arrays((outputs, inputs)))
        model[f"{name}.bias"] = draw(int_arrays((outputs,)))
    return model, draw(int_arrays((draw(st.integers(0, 5)), widths[0]))), draw(st.sampled_from([1, 8, 24, 30]))


@FEW
@given(models())
def test_logits_are_those_of_the_documented_arithmetic(drawn: tuple[IntTensors, Any, int]) -> None:
    model, features, fraction_bits = drawn
    assert logits(model, features, fraction_bits) == by_fractions(model, features, fraction_bits)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_values_of_the_widest_layer_do_not_wrap(sign: int) -> None:
    wide = 1 << 15
    model = {
        "hidden1.weight": np.full((1, wide), sign * LIMIT, np.int32),
        "hidden1.bias": np.full(1, sign * LIMIT, np.int32),
        "output.weight": np.full((1, 1), LIMIT, np.int32), "output.bias": np.full(1, -LIMIT, np.int32),
    }  # fmt: skip
    features = np.full((1, wide), -LIMIT - 1, np.int32)
    hidden = LIMIT if sign < 0 else 0
    assert logits(model, features, 24) == [LIMIT * hidden - (LIMIT << 24)]
    alone = {"output.weight": model["hidden1.weight"], "output.bias": model["hidden1.bias"]}
    assert logits(alone, features, 24) == [sign * (-wide * LIMIT * (LIMIT + 1) + (LIMIT << 24))]


@pytest.mark.parametrize(
    ("sums", "rounded"), [(1, 0), (2, 1), (3, 2), (5, 2), (6, 3), (7, 4), (-1, 0), (-3, 0), (-40, 0)]
)
def test_between_layers_halves_go_to_the_even_side_and_negatives_to_zero(sums: int, rounded: int) -> None:
    model = {
        "hidden1.weight": np.array([[sums]], np.int32), "hidden1.bias": np.zeros(1, np.int32),
        "output.weight": np.ones((1, 1), np.int32), "output.bias": np.zeros(1, np.int32),
    }  # fmt: skip
    expected = max(round(Fraction(sums, 2)), 0)
    assert logits(model, np.array([[1]], np.int32), 1) == [expected]
    assert expected == rounded


def pairs_one_by_one(scores: list[int], labels: list[int]) -> int:
    rows = list(zip(scores, labels, strict=True))
    return sum((p > n) * 2 + (p == n) for p, positive in rows if positive for n, other in rows if not other)


@given(st.lists(st.tuples(st.integers(-3, 3) | st.integers(-(2**80), 2**80), st.integers(0, 1)), max_size=12))
def test_ranked_pairs_counts_each_pair_once(rows: list[tuple[int, int]]) -> None:
    scores, labels = [score for score, _ in rows], [label for _, label in rows]
    assert ranked_pairs(scores, np.array(labels, np.int32)) == pairs_one_by_one(scores, labels)


LOGISTIC = {"output.weight": np.array([[3, -2]], np.int32), "output.bias": np.array([1], np.int32)}
ROWS = ValidationSet(
    np.array([[1, 0], [0, 1], [2, 2]], np.int32), np.array([1, 0, 1], np.int32), np.array([0, 0, 1], np.int32)
)


def test_a_models_value_is_twice_the_pairs_that_it_ranks_right() -> None:
    assert value(LOGISTIC, ROWS, 24) == 4
    assert value({**LOGISTIC, "output.weight": -LOGISTIC["output.weight"]}, ROWS, 24) == 0
    assert value({**LOGISTIC, "output.weight": 0 * LOGISTIC["output.weight"]}, ROWS, 24) == 2


@pytest.mark.parametrize(
    "model",
    [
        {},
        {"output.weight": LOGISTIC["output.weight"]},
        {**LOGISTIC, "extra": LOGISTIC["output.bias"]},
        {**LOGISTIC, "hidden2.weight": LOGISTIC["output.bias"], "hidden2.bias": LOGISTIC["output.bias"]},
        {**LOGISTIC, "output.weight": np.zeros((1, 3), np.int32)},
        {**LOGISTIC, "output.weight": np.zeros(2, np.int32)},
        {"output.weight": np.zeros((2, 2), np.int32), "output.bias": np.zeros(2, np.int32)},
    ],
)
def test_a_model_of_another_kind_is_one_line(model: IntTensors) -> None:
    with pytest.raises(InputError, match="cannot be scored"):
        value(model, ROWS, 24)


def test_a_validation_set_comes_back_from_its_bytes() -> None:
    read = ValidationSet.from_bytes(ROWS.to_bytes())
    for name in ("features", "labels", "donors"):
        np.testing.assert_array_equal(getattr(read, name), getattr(ROWS, name))
    assert read.counts(2) == (2, 1)
    assert read.counts(3) == (2, 1, 0)
    assert validation_digest(ROWS.to_bytes()) != validation_digest(b"")


def other(**changes: Any) -> bytes:
    tensors = {"donors": ROWS.donors, "features": ROWS.features, "labels": ROWS.labels} | changes
    return encode({name: array for name, array in tensors.items() if array is not None})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        other(labels=None),
        other(more=ROWS.labels),
        other(labels=np.array([1, 2, 1], np.int32)),
        other(labels=np.array([1, 0], np.int32)),
        other(features=ROWS.labels),
        other(donors=np.zeros((3, 1), np.int32)),
    ],
)
def test_other_bytes_are_no_validation_set(data: bytes) -> None:
    with pytest.raises(FormatError):
        ValidationSet.from_bytes(data)


@pytest.mark.parametrize("donors", [0, 1])
def test_a_row_of_an_undeclared_donor_is_refused(donors: int) -> None:
    with pytest.raises(FormatError, match="donors"):
        ROWS.counts(donors)
