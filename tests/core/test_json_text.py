from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.json_text import MAX_DEPTH, parse
from tests.core.samples import FEW

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@FEW
@given(values, st.booleans())
def test_json_in_utf_8_is_parsed(value: Any, ensure_ascii: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ensure_ascii).encode()) == value


@pytest.mark.parametrize("text", ["[" * 40, "]" * 40, '[{"', '\\"[' * 40, "\\", '"', "{}{}"])
def test_brackets_within_strings_are_no_depth(text: str) -> None:
    assert parse(json.dumps([text] * 3).encode()) == [text] * 3


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"":', "}"), ('[{"[":', "}]")])
def test_what_is_nested_too_deep_is_refused(opening: str, closing: str) -> None:
    levels = MAX_DEPTH // len(closing)
    assert parse((opening * levels + "0" + closing * levels).encode())
    with pytest.raises(ValueError, match="nested deeper"):
        parse((opening * (levels + 1) + "0" + closing * (levels + 1)).encode())


def test_brackets_never_overflow_the_stack() -> None:
    """In a process of its own, with the recursion limit that py_ecc sets: the plain parser is killed by a signal."""
    program = "import sys; from fedchain.core.json_text import parse; sys.setrecursionlimit(10**5); parse(b'[' * 10**5)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "ValueError: nested deeper than 64" in ended.stderr


@pytest.mark.parametrize("data", [b'"', b'"\\"' * 100_000, b'\\"' * 100_000, b'"\\', b"]" * 100_000])
def test_the_depth_of_broken_text_is_found_in_linear_time(data: bytes) -> None:
    start = time.process_time()
    with pytest.raises(ValueError, match=r"line 1|codec|BOM"):
        parse(data)
    assert time.process_time() - start < 5  # a quadratic search takes minutes


@pytest.mark.parametrize(
    "data", [b"", b"\xff", b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32-be"), b"{}x", b"{'a':1}"]
)
def test_what_is_no_json_in_utf_8_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"line 1|codec|BOM"):
        parse(data)


def test_objects_are_made_by_the_caller() -> None:
    assert parse(b'{"a":{"b":1,"b":2}}', list) == [("a", [("b", 1), ("b", 2)])]
