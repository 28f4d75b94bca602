"""Rules of one's own: what they are given, what they may return, and what is refused in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedchain.core.aggregation import ModelOutOfRangeError
from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.own_rule import Arrays, Rule, step_by
from fedchain.core.tensors import IntTensors, decode, encode

ENCODING = FixedPoint()
BASE: IntTensors = {"bias": np.array([5], "<i4"), "weight": np.array([[1 << 24, -3], [0, 7]], "<i4")}


def mean() -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
    return {"bias": np.array([-(1 << 20)], np.int64), "weight": np.array([[12345, 0], [-1, 1 << 22]], np.int64)}


def averaged(base: Arrays, mean: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
    """Moves by the mean; counts rounds and keeps a moment, as integers and as floats."""
    rounds = state.get("rounds", np.zeros(1, np.int32)) + np.int32(1)
    moment = {name: 0.9 * state.get(f"m/{name}", np.zeros(each.shape)) + each for name, each in mean.items()}
    return {name: base[name] + each for name, each in mean.items()}, {
        "rounds": rounds,
        **{f"m/{name}": each for name, each in moment.items()},
    }


def returns(made: Any) -> Rule:
    return lambda _base, _mean, _state: made


def test_a_rule_gets_integers_and_its_own_state_and_gives_the_next_ones() -> None:
    model, state = step_by(averaged, BASE, mean(), None, ENCODING)
    for name, each in decode(model).items():
        assert each.tolist() == (BASE[name] + mean()[name]).tolist()
    seen: list[dict[str, Any]] = []

    def looking(base: Arrays, mean: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        seen.append(dict(state))
        return averaged(base, mean, state)

    _, after = step_by(looking, decode(model), mean(), state, ENCODING)
    assert seen[0]["rounds"].tolist() == [1]
    assert seen[0]["m/weight"].tobytes() == mean()["weight"].astype("<f8").tobytes()
    assert decode(after)["i/rounds"].tolist() == [2]


@pytest.mark.parametrize("whose", ["base", "mean", "state"])
def test_what_a_rule_is_given_cannot_be_written(whose: str) -> None:
    _, state = step_by(averaged, BASE, mean(), None, ENCODING)

    def writing(base: Arrays, mean: Arrays, state: Arrays) -> tuple[Arrays, Arrays]:
        next(iter({"base": base, "mean": mean, "state": state}[whose].values()))[...] = 0
        return base, {}

    with pytest.raises(ValueError, match="read-only"):
        step_by(writing, decode(encode(BASE)), mean(), state, ENCODING)


def test_a_rule_that_answers_differently_when_it_is_asked_twice_is_refused() -> None:
    answers = iter(range(9))
    with pytest.raises(InputError, match="one model and state for one mean, got another each time"):
        step_by(
            lambda base, _mean, _state: ({n: b + next(answers) for n, b in base.items()}, {}),
            BASE,
            mean(),
            None,
            ENCODING,
        )


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (BASE, r"expected \(model, state\)"),
        ((BASE, None), r"expected \(model, state\)"),
        (({"bias": BASE["bias"]}, {}), "the base model's tensors"),
        (({**BASE, "bias": BASE["bias"].reshape(1, 1)}, {}), "the base model's tensors"),
        (({**BASE, "bias": np.array([0.5])}, {}), "expected integers in fixed point, got float64; round it"),
        ((BASE, {"m": np.zeros(2, np.float32)}), "state m of a strategy of one's own: expected int32 or float64"),
    ],
)
def test_what_is_no_model_and_state_in_integers_is_refused_in_one_line(made: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        step_by(returns(made), BASE, mean(), None, ENCODING)


@pytest.mark.parametrize(
    "made",
    [
        ({**BASE, "bias": np.array([1 << 31])}, {}),
        ({**BASE, "bias": np.array([-(1 << 31)])}, {}),
        ({**BASE, "bias": np.array([(1 << 32) + 1], np.uint64)}, {}),
        (BASE, {"m": np.array([np.inf])}),
    ],
    ids=["above", "below", "wrapping", "infinite state"],
)
def test_what_leaves_its_range_aborts_the_round(made: Any) -> None:
    with pytest.raises(ModelOutOfRangeError):
        step_by(returns(made), BASE, mean(), None, ENCODING)


def test_a_state_that_no_rule_has_left_is_refused() -> None:
    for words in ({"m": np.zeros((2, 2), "<i4")}, {"f/m": np.zeros((2, 3), "<i4")}):
        with pytest.raises(FormatError, match="words of numbers"):
            step_by(averaged, BASE, mean(), encode(words), ENCODING)
