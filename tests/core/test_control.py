"""SCAFFOLD's controls: what follows from a released update, in which bits, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from struct import pack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.aggregation import ExactSum, ModelOutOfRangeError
from fedchain.core.control import Control, Place, Steps, own_after, own_from_bytes, own_to_bytes
from fedchain.core.errors import FormatError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.optimiser import state_digest
from fedchain.core.tensors import FloatTensors, IntTensors, TensorSchema, decode, encode
from tests.core.samples import FEW

ENCODING = FixedPoint()
STEPS = Steps(5, "0.3")
ONE, TWO, THREE = b"\x01" * 20, b"\xf2" * 20, b"\x03" * 20
WEIGHTS = {ONE: 100, TWO: 200, THREE: 300}
SCHEMA = TensorSchema(("bias", "weight"), ((1,), (2, 2)))


def update(seed: int) -> IntTensors:
    values = [(seed * 2_654_435_761 + place * 40_503_001) % 2**25 - 2**24 for place in range(5)]
    return {"bias": np.array(values[:1], "<i4"), "weight": np.array(values[1:], "<i4").reshape(2, 2)}


def summed(updates: dict[bytes, IntTensors]) -> ExactSum:
    total = ExactSum(SCHEMA)
    for client, each in updates.items():
        total.add(each, WEIGHTS[client])
    return total


def rounds(cohorts: list[list[bytes]]) -> tuple[Control, dict[bytes, FloatTensors]]:
    """Play rounds with the given clients; return the server's control and the clients' own."""
    server, own = Control.read(None, SCHEMA), {client: own_from_bytes(None, SCHEMA) for client in WEIGHTS}
    for number, clients in enumerate(cohorts, start=1):
        updates = {client: update(10 * number + client[0]) for client in clients}
        for client, each in updates.items():
            own[client] = own_after(server.less(own[client]), each, STEPS, ENCODING)
        entered = dict.fromkeys(clients, Place(number, 1))
        server = server.after(summed(updates), sum(WEIGHTS.values()), STEPS, entered, ENCODING)
    return server, own


@pytest.mark.parametrize(
    "cohorts", [[[ONE, TWO, THREE]] * 3, [[ONE, TWO], [THREE], [ONE, THREE], [TWO]]], ids=["all", "some"]
)
def test_the_servers_control_is_the_weighted_mean_of_all_clients_controls(cohorts: list[list[bytes]]) -> None:
    server, own = rounds(cohorts)
    for name, values in server.values.items():
        mean = sum(WEIGHTS[client] * own[client][name] for client in WEIGHTS) / sum(WEIGHTS.values())
        np.testing.assert_allclose(values, mean, rtol=0, atol=1e-15)
    last = {client: number for number, clients in enumerate(cohorts, start=1) for client in clients}
    assert server.entered == {client: Place(number, 1) for client, number in last.items()}


def test_a_clients_control_is_the_mean_gradient_of_its_steps() -> None:
    """K steps of rate e along g - c_i + c move by -K e (mean g - c_i + c): option II gets the mean of g back."""
    server, own = rounds([[ONE, TWO], [TWO, THREE]])
    gradient = {"bias": np.array([0.5]), "weight": np.array([[1.0, -2.0], [0.25, 0.0]])}
    correction = server.less(own[TWO])
    moved = {name: -STEPS.length * (each + correction[name]) for name, each in gradient.items()}
    after = own_after(correction, ENCODING.quantise(moved), STEPS, ENCODING)
    for name, each in gradient.items():
        np.testing.assert_allclose(after[name], each, rtol=0, atol=2**-24 / STEPS.length)


def test_one_number_at_a_time_gives_the_same_bits() -> None:
    """Python's own floats, in the order that docs/format.md writes."""
    server, own = rounds([[ONE, TWO], [ONE, TWO, THREE]])
    c, mine = 0.0, 0.0
    for number, clients in ((1, [ONE, TWO]), (2, [ONE, TWO, THREE])):
        integers = {client: int(update(10 * number + client[0])["weight"][0, 1]) for client in clients}
        mine = -(c - mine) - (integers[ONE] * 2.0**-24) / (5 * 0.3)
        weight, total = sum(WEIGHTS[each] for each in clients), sum(WEIGHTS[k] * v for k, v in integers.items())
        c = (600 - weight) / 600 * c - (float(total) * 2.0**-24) / (600 * (5 * 0.3))
    words = decode(server.to_bytes())["c/weight"]
    assert words[0, 1].tobytes() == pack("<d", c)
    assert decode(own_to_bytes(own[ONE]))["weight"][0, 1].tobytes() == pack("<d", mine)


def test_the_bits_are_those_of_every_machine() -> None:
    server, own = rounds([[ONE, TWO], [THREE], [TWO, THREE]])
    assert (state_digest(server.to_bytes()).hex()[:16], state_digest(own_to_bytes(own[TWO])).hex()[:16]) == (
        "db7284efe78182c7", "50f05fdcf85529d3",
    )  # fmt: skip


@FEW
@given(st.permutations([ONE, TWO, THREE]))
def test_no_order_of_arrival_enters(order: list[bytes]) -> None:
    updates = {client: update(client[0]) for client in order}
    before, _ = rounds([[TWO], [ONE, THREE]])
    entered = dict.fromkeys(order, Place(3, 2))
    after = before.after(summed(updates), 600, STEPS, entered, ENCODING).to_bytes()
    again = {client: updates[client] for client in WEIGHTS}
    assert after == before.after(summed(again), 600, STEPS, dict.fromkeys(again, Place(3, 2)), ENCODING).to_bytes()


def test_controls_are_kept_bit_for_bit() -> None:
    server, own = rounds([[ONE], [TWO, ONE]])
    read = Control.read(server.to_bytes(), SCHEMA)
    assert read.entered == server.entered == {ONE: Place(2, 1), TWO: Place(2, 1)}
    assert all(read.values[name].tobytes() == server.values[name].tobytes() for name in SCHEMA.names)
    back = own_from_bytes(own_to_bytes(own[ONE]), SCHEMA)
    assert all(back[name].tobytes() == own[ONE][name].tobytes() for name in SCHEMA.names)


def test_a_control_of_another_model_or_without_its_clients_is_refused() -> None:
    server, own = rounds([[ONE]])
    words = decode(server.to_bytes())
    without = {name: each for name, each in words.items() if name != "entered"}
    for state, reason in (
        (encode(without), "no table"),
        (encode(words | {"entered": words["entered"].reshape(-1)}), "no table"),
        (encode({name: each for name, each in words.items() if name != "c/bias"}), "another"),
        (own_to_bytes(own[ONE]), "another"),
        (encode(words | {"c/bias": np.array([[0, 0x7FF80000]], "<i4")}), "finite"),
    ):
        with pytest.raises(FormatError, match=reason):
            Control.read(state, SCHEMA)
    with pytest.raises(FormatError, match="another"):
        own_from_bytes(server.to_bytes(), SCHEMA)


def test_a_control_that_would_not_be_finite_is_refused() -> None:
    server, own = rounds([[ONE]])
    tiny = replace(STEPS, rate="1e-310")
    with pytest.raises(ModelOutOfRangeError, match="finite"):
        server.after(summed({ONE: update(1)}), 600, tiny, {}, ENCODING)
    with pytest.raises(InputError, match="finite"):
        own_after(server.less(own[ONE]), update(1), tiny, ENCODING)
