from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.abi import words
from fedchain.core.errors import FormatError
from tests.core.samples import FEW, solidity

KINDS = ["bytes32", "address", "uint8", "uint16", "uint32", "uint64", "uint256"]
typed = st.sampled_from(KINDS).flatmap(lambda kind: st.tuples(st.just(kind), solidity(kind)))


@FEW
@given(st.lists(typed, max_size=6))
def test_static_values_are_encoded_as_the_abi_has_it(pairs: list[tuple[str, Any]]) -> None:
    kinds, values = [kind for kind, _ in pairs], [value for _, value in pairs]
    assert words(kinds, values) == encode(kinds, values)
    assert len(words(kinds, values)) == 32 * len(pairs)


@FEW
@given(typed, typed)
def test_two_values_of_one_type_never_share_a_word(one: tuple[str, Any], other: tuple[str, Any]) -> None:
    kind, value = one
    if kind == other[0]:
        assert (words([kind], [value]) == words([kind], [other[1]])) == (value == other[1])


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("bytes32", b""),
        ("bytes32", bytes(31)),  # a library would pad it
        ("bytes32", bytes(33)),
        ("bytes32", "0x" + "00" * 32),
        ("bytes32", 0),
        ("address", bytes(19)),
        ("address", bytes(21)),
        ("address", bytes(32)),
        ("address", "0x" + "00" * 20),
        ("uint8", 256),
        ("uint64", -1),
        ("uint64", 2**64),
        ("uint256", 2**256),
        ("uint64", 1.0),
        ("uint64", "1"),
        ("uint64", None),
        ("uint64", bytes(32)),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(kind: str, value: object) -> None:
    with pytest.raises(FormatError, match=kind):
        words([kind], [value])


def test_each_type_needs_its_value() -> None:
    with pytest.raises(ValueError, match="shorter"):
        words(["uint8", "uint8"], [1])
