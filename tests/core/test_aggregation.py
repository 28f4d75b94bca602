from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.aggregation import (
    MAX_TOTAL_WEIGHT,
    ExactSum,
    Job,
    ModelOutOfRangeError,
    RunAll,
    divide_half_even,
    serially,
    squared_norm,
)
from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import IntTensors, TensorSchema, encode
from tests.core.samples import FEW, int32, int_tensors

ENCODING = FixedPoint()
weights = st.integers(1, 2**29 - 1)
small = st.integers(1 - 2**30, 2**30 - 1)  # two of them stay in range


def on_threads(count: int) -> RunAll:
    def run_all(apply: Callable[[Job], None], jobs: Iterable[Job]) -> None:
        with ThreadPoolExecutor(count) as pool:
            list(pool.map(apply, jobs))

    return run_all


def vector(*values: int) -> IntTensors:
    return {"x": np.array(values, np.int32)}


def added(updates: Iterable[tuple[IntTensors, int]], schema: TensorSchema, run_all: RunAll = serially) -> ExactSum:
    total = ExactSum(schema, run_all)
    for update, weight in updates:
        total.add(update, weight)
    return total


def new_model(updates: Iterable[tuple[IntTensors, int]], model: IntTensors, run_all: RunAll = serially) -> bytes:
    return encode(added(updates, TensorSchema.of(model), run_all).apply_to(model, ENCODING))


@given(small, st.lists(st.tuples(small, weights), min_size=1, max_size=8))
def test_the_new_model_is_the_old_one_plus_the_rounded_exact_mean(before: int, updates: list[tuple[int, int]]) -> None:
    total = sum(weight for _, weight in updates)
    mean = Fraction(sum(value * weight for value, weight in updates), total)
    exact = added(((vector(value), weight) for value, weight in updates), TensorSchema.of(vector(before)))
    after = exact.apply_to(vector(before), ENCODING)["x"]
    assert (after.tolist(), exact.total_weight) == ([before + round(mean)], total)
    assert after.dtype == np.int32


@pytest.mark.parametrize(("extreme", "before"), [(2**31 - 1, 0), (2**31 - 1, -(2**31 - 1)), (-(2**31), 1)])
def test_no_sum_wraps_at_the_greatest_values_and_weights(extreme: int, before: int) -> None:
    updates = [(vector(extreme), 2**31), (vector(extreme), MAX_TOTAL_WEIGHT - 2**31)]
    after = added(updates, TensorSchema.of(vector(0))).apply_to(vector(before), ENCODING)
    assert after["x"].tolist() == [extreme + before]


@FEW
@given(int_tensors, st.data())
def test_order_and_threads_change_no_byte(model: IntTensors, data: st.DataObject) -> None:
    shifts = data.draw(st.lists(st.tuples(st.integers(0, 3), weights), min_size=1, max_size=6))
    base = {name: np.array(array // 4, np.int32) for name, array in model.items()}
    updates = [({name: np.array(array >> shift, np.int32) for name, array in base.items()}, w) for shift, w in shifts]
    expected = new_model(updates, base)
    assert new_model(data.draw(st.permutations(updates)), base) == expected
    assert new_model(updates, base, on_threads(1)) == expected
    assert new_model(updates, base, on_threads(2)) == expected


def test_tensors_longer_than_a_job_are_summed_whole_on_any_number_of_threads() -> None:
    random = np.random.default_rng(5)
    sizes = {"a": 600_001, "b": 16_385, "c": 1, "d": 0}
    updates = [
        ({name: random.integers(-(2**24), 2**24, size, dtype=np.int32) for name, size in sizes.items()}, weight)
        for weight in (303, 46, 130)
    ]
    model = {name: np.zeros(size, np.int32) for name, size in sizes.items()}
    results = [new_model(updates, model, run_all) for run_all in (serially, on_threads(1), on_threads(2))]
    assert results[0] == results[1] == results[2]
    exact = added(updates, TensorSchema.of(model)).apply_to(model, ENCODING)
    for name, size in sizes.items():
        places = [*range(0, size, 997), *range(max(0, size - 3), size)]
        sums = [sum(int(update[name][place]) * weight for update, weight in updates) for place in places]
        assert exact[name][places].tolist() == [round(Fraction(value, 479)) for value in sums]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=20), st.integers(1, 2**32 - 1))
def test_division_rounds_half_to_even(numerators: list[int], denominator: int) -> None:
    quotients = divide_half_even(np.array(numerators, np.int64), denominator)
    assert quotients.tolist() == [round(Fraction(numerator, denominator)) for numerator in numerators]


@pytest.mark.parametrize("denominator", [2, 4, 10, 2**32 - 2])
def test_ties_go_to_the_even_neighbour(denominator: int) -> None:
    ties = [denominator // 2 * odd for odd in (-5, -3, -1, 1, 3, 5)]
    assert divide_half_even(np.array(ties, np.int64), denominator).tolist() == [-2, -2, 0, 0, 2, 2]


@given(st.lists(int32, max_size=40))
def test_a_squared_norm_is_that_of_python_integers(values: list[int]) -> None:
    half = len(values) // 2
    update = {"a": np.array(values[:half], np.int32), "b": np.array(values[half:], np.int32).reshape(-1, 1)}
    assert squared_norm(update) == sum(value * value for value in values)


@pytest.mark.parametrize("extreme", [-(2**31), 2**31 - 1])
def test_a_squared_norm_never_wraps(extreme: int) -> None:
    assert squared_norm({"x": np.full(100_000, extreme, np.int32)}) == 100_000 * extreme**2


@pytest.mark.parametrize("value", [2**31 - 1, 1 - 2**31])
def test_a_model_that_would_leave_the_range_is_told_by_its_tensor(value: int) -> None:
    step = 1 if value > 0 else -1
    assert new_model([(vector(0), 1)], vector(value)) == encode(vector(value))
    with pytest.raises(ModelOutOfRangeError, match="model tensor x"):
        new_model([(vector(step), 1)], vector(value))


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one update"):
        ExactSum(TensorSchema.of(vector(1))).apply_to(vector(1), ENCODING)


@pytest.mark.parametrize(
    "other",
    [
        {},
        {"y": np.zeros(2, np.int32)},
        {"x": np.zeros(1, np.int32)},
        {"x": np.zeros((2, 1), np.int32)},
        {"x": np.zeros(2, np.int32), "y": np.zeros(2, np.int32)},
        {"x": np.zeros(2, np.int64)},
        {"x": np.zeros(2, np.float32)},
        {"x": np.zeros(2, np.bool_)},
    ],
    ids=str,
)
def test_tensors_of_another_schema_are_neither_added_nor_moved(other: dict[str, npt.NDArray[Any]]) -> None:
    total = ExactSum(TensorSchema.of(vector(1, 2)))
    with pytest.raises(FormatError, match="update"):
        total.add(other, 1)
    assert total.total_weight == 0
    total.add(vector(1, 2), 1)
    with pytest.raises(FormatError, match="model"):
        total.apply_to(other, ENCODING)


@pytest.mark.parametrize("weight", [0, -1, -399, MAX_TOTAL_WEIGHT + 1, 10**12])
def test_a_weight_that_could_spoil_the_sum_is_refused(weight: int) -> None:
    total = ExactSum(TensorSchema.of(vector(1)))
    with pytest.raises(FormatError, match="weight"):
        total.add(vector(1), weight)
    total.add(vector(1), MAX_TOTAL_WEIGHT)
    with pytest.raises(FormatError, match="weight"):
        total.add(vector(1), 1)


def test_memory_does_not_grow_with_the_number_of_clients() -> None:
    size = 200_000
    schema = TensorSchema(("x",), ((size,),))

    def peak(clients: int) -> int:
        tracemalloc.start()
        added((({"x": np.full(size, client, np.int32)}, 1) for client in range(clients)), schema)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(40) < 1.2 * peak(2)
    assert peak(2) < 8 * size + 3 * 4 * size + 2**20
