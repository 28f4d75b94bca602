from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from tests.core.samples import FEW, int32, shapes

encodings = st.integers(1, 30).map(FixedPoint)
floats = st.floats(allow_nan=False, allow_infinity=False)


def quantised(encoding: FixedPoint, value: Any, dtype: str = "f8") -> int:
    return int(encoding.quantise({"x": np.array([value], dtype)})["x"][0])


@given(encodings, floats)
def test_a_real_becomes_the_nearest_integer_and_a_tie_the_even_one(encoding: FixedPoint, value: float) -> None:
    expected = round(Fraction(value) * 2**encoding.fraction_bits)
    if abs(expected) <= 2**31 - 1:
        assert quantised(encoding, value) == expected
    else:
        with pytest.raises(InputError):
            quantised(encoding, value)


@given(encodings, int32.filter(lambda value: value != -(2**31)))
def test_decoding_is_exact_and_encoding_undoes_it(encoding: FixedPoint, value: int) -> None:
    decoded = encoding.dequantise({"x": np.array([value], np.int32)})["x"]
    assert decoded.dtype == np.float64
    assert Fraction(float(decoded[0])) == Fraction(value, 2**encoding.fraction_bits)
    assert quantised(encoding, decoded[0]) == value


@given(encodings, st.floats(-1.9, 1.9))
def test_a_real_comes_back_within_half_a_step(encoding: FixedPoint, value: float) -> None:
    back = encoding.dequantise(encoding.quantise({"x": np.array([value])}))["x"][0]
    assert abs(Fraction(float(back)) - Fraction(value)) <= Fraction(1, 2 ** (encoding.fraction_bits + 1))


@given(st.floats(-1, 1, width=32))
def test_single_precision_is_quantised_by_its_exact_value(value: float) -> None:
    assert quantised(FixedPoint(), value, "f4") == quantised(FixedPoint(), value)


@FEW
@given(hnp.arrays(np.float64, shapes, elements=st.floats(-100, 100)))
def test_shapes_and_places_are_kept(array: Any) -> None:
    encoded = FixedPoint().quantise({"x": array})["x"]
    assert encoded.shape == array.shape
    assert encoded.dtype == np.int32
    assert encoded.tolist() == np.vectorize(lambda x: round(Fraction(x) * 2**24), otypes=[int])(array).tolist()
    assert FixedPoint().dequantise({"x": encoded})["x"].shape == array.shape


@pytest.mark.parametrize("size", [16383, 16384, 16385, 40000])
def test_tensors_longer_than_a_block_are_quantised_whole(size: int) -> None:
    array = np.linspace(-127, 127, size)
    assert np.array_equal(FixedPoint().quantise({"x": array})["x"], np.rint(array * 2**24).astype(np.int32))
    array[-1] = np.nan
    with pytest.raises(InputError):
        FixedPoint().quantise({"x": array})


def test_other_memory_layouts_are_quantised_by_value() -> None:
    grid = np.arange(6.0).reshape(2, 3)
    assert FixedPoint(1).quantise({"x": grid.T})["x"].tolist() == (2 * grid.T).astype(int).tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 128.0, -128.0, 1e300, -1.7e308])
def test_what_does_not_fit_is_refused_with_the_range(value: float) -> None:
    with pytest.raises(InputError, match="finite values below 128 in magnitude"):
        FixedPoint().quantise({"x": np.array([0.0, value, 1.0])})


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_range_is_symmetric(sign: int) -> None:
    greatest = sign * (128 - 2.0**-24)
    assert quantised(FixedPoint(), greatest) == sign * (2**31 - 1)
    assert FixedPoint().limit == 2**31 - 1


@pytest.mark.parametrize("dtype", ["i4", "i8", "u1", "?", "c8", "U1", "O"])
def test_only_floats_are_quantised(dtype: str) -> None:
    with pytest.raises(InputError, match="floating point"):
        FixedPoint().quantise({"x": np.zeros(1, dtype)})


@pytest.mark.parametrize(("fraction_bits", "width"), [(0, 32), (31, 32), (-1, 32), (24, 16), (24, 64)])
def test_other_encodings_do_not_exist(fraction_bits: int, width: int) -> None:
    with pytest.raises(InputError):
        FixedPoint(fraction_bits, width)
