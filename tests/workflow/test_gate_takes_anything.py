"""Whatever bytes come as a statement or a payload, the gate gives a verdict and raises nothing."""

from __future__ import annotations

import copy
import functools
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.privacy import DpParams
from fedchain.core.rejection import Reason
from fedchain.ports.cohort import Reply
from fedchain.workflow.gate import NOBODY, Admission, Gate, Refusal
from tests.workflow.drafts import Draft, gate, genuine, safetensors


def refusal(draft: Draft, admitted: frozenset[bytes] = frozenset()) -> Refusal:
    verdict = gate(draft).judge(draft.reply(), admitted)
    assert isinstance(verdict, Refusal)
    return verdict


# ------------------------------------------------------------------ anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EDITS = st.lists(st.tuples(st.integers(0, 2**12), st.binary(max_size=3), st.integers(0, 8)), min_size=1, max_size=4)


def edited(data: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
    """Replace some bytes at each place by others."""
    for place, others, length in edits:
        start = place % (len(data) + 1)
        data = data[:start] + others + data[start + length :]
    return data


@functools.cache
def standing_gate() -> tuple[Draft, Gate]:
    draft = genuine()
    return draft, gate(draft)


@given(
    header=st.binary(max_size=300) | JSON.map(lambda value: json.dumps(value).encode()), payload=st.binary(max_size=99)
)
def test_garbage_is_refused_and_never_raises(header: bytes, payload: bytes) -> None:
    _, judge = standing_gate()
    assert judge.judge(Reply(1, 1, header, payload, ""), frozenset()) == Refusal(Reason.MALFORMED, NOBODY)


@pytest.mark.parametrize("rank", [9, 64, 65, 500, 5_000])
@pytest.mark.parametrize("size", [1, 2**31 - 1])
def test_a_tensor_of_many_dimensions_is_refused_at_once(rank: int, size: int) -> None:
    draft = genuine()
    draft.carry(safetensors([("bias", "I32", [size] * rank, bytes(8)), ("weight", "I32", [2, 2], bytes(16))]))
    assert refusal(draft).reason in {Reason.OTHER_SHAPE, Reason.NOT_CANONICAL}


@pytest.mark.parametrize("depth", [100, 900, 990, 5_000, 100_000])
@pytest.mark.parametrize("brackets", [b"[]", b'{"a":}'])
def test_nested_garbage_is_refused_and_never_raises(depth: int, brackets: bytes) -> None:
    half = len(brackets) - 1
    header = brackets[:half] * depth + b"1" + brackets[half:] * depth
    verdict = standing_gate()[1].judge(Reply(1, 1, header, b"", ""), frozenset())
    assert verdict == Refusal(Reason.MALFORMED, NOBODY)


@given(edits=EDITS)
def test_an_altered_statement_is_refused_and_never_raises(edits: list[tuple[int, bytes, int]]) -> None:
    draft, judge = standing_gate()
    reply = draft.reply()
    header = edited(reply.header, edits)
    verdict = judge.judge(replace(reply, header=header), frozenset())
    assert isinstance(verdict, Refusal) or header == reply.header


NUMBERS = st.integers(-(2**70), 2**70) | st.sampled_from([0, 1, 2**32 - 1, 2**64 - 1])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": NUMBERS,
    "str": st.text(st.characters(codec="utf-8"), max_size=9),
    "bytes": st.binary(max_size=40) | st.binary(min_size=32, max_size=32),
}
PARAMETERS = st.fixed_dictionaries({}, optional={each.name: VALUES[str(each.type)] for each in fields(DpParams)})
PRIVACY = {Reason.PRIVACY_MISSTATED, Reason.GRANT_EXCEEDED, Reason.OTHER_CONTROL}


@given(parameters=PARAMETERS)
def test_a_signed_statement_with_any_parameters_never_raises(parameters: dict[str, Any]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    draft.dp = replace(draft.dp, **parameters)
    verdict = judge.judge(draft.reply(), frozenset())
    assert isinstance(verdict, Admission) or verdict.reason in PRIVACY


@given(payload=st.binary(max_size=200) | EDITS)
def test_a_signed_payload_of_any_bytes_never_raises(payload: bytes | list[tuple[int, bytes, int]]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    update = payload if isinstance(payload, bytes) else edited(draft.envelope.update, payload)
    draft.carry(update)
    verdict = judge.judge(draft.reply(), frozenset())
    assert isinstance(verdict, Refusal) or verdict.tensors.keys() == {"bias", "weight"}


@given(
    entries=st.lists(
        st.tuples(
            st.sampled_from(["bias", "weight", "", "__metadata__", "\ud800"]),
            st.sampled_from(["I32", "F32", "F64", "F16", "BOOL", "C64", "I64", "STR", ""]),
            st.lists(st.integers(0, 3) | st.sampled_from([-1, 2**31, 2**70]), max_size=3),
            st.binary(max_size=16),
        ),
        max_size=3,
    )
)
def test_a_signed_update_with_any_header_never_raises(entries: list[tuple[str, str, list[int], bytes]]) -> None:
    draft, judge = standing_gate()
    draft = copy.copy(draft)
    draft.carry(safetensors(entries))
    assert isinstance(judge.judge(draft.reply(), frozenset()), Admission | Refusal)
