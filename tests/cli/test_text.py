from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.cli.text import delta_text, epsilon_number, epsilon_text, hex_id, safe, short, time_text
from fedchain.core.messages import UNBOUNDED


@given(st.text())
def test_nothing_that_steers_a_terminal_or_reverses_a_line_gets_through(text: str) -> None:
    for character in safe(text):
        category = unicodedata.category(character)
        assert category[0] != "C"
        assert category not in ("Zl", "Zp")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31m", "\\u{1b}[31m"),
        ("a\nb\r\tc", "a\\u{a}b\\u{d}\\u{9}c"),
        ("\u202egnp.exe", "\\u{202e}gnp.exe"),
        ("\u2066x\u2069", "\\u{2066}x\\u{2069}"),
        ("zero\u200bwidth", "zero\\u{200b}width"),
        ("\ud800", "\\u{d800}"),
        ("line\u2028break", "line\\u{2028}break"),
        ("Zürich 東京", "Zürich 東京"),
    ],
)
def test_hostile_characters_are_shown_as_code_points_and_names_stay_readable(text: str, shown: str) -> None:
    assert safe(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert safe("x" * 1000, 10) == "xxxxxxxxxx... (1000 characters)"


@pytest.mark.parametrize(
    ("micro_epsilon", "shown"),
    [(0, "0.000"), (1, "0.001"), (1000, "0.001"), (1001, "0.002"), (8_000_000, "8.000"), (UNBOUNDED, "unbounded")],
)
def test_epsilon_is_never_understated(micro_epsilon: int, shown: str) -> None:
    assert epsilon_text(micro_epsilon) == shown


@given(st.integers(0, 2**50))
def test_a_shown_epsilon_is_at_least_the_spent_one(micro_epsilon: int) -> None:
    assert round(float(epsilon_text(micro_epsilon)) * 10**6) >= micro_epsilon


def test_json_has_no_infinity() -> None:
    assert epsilon_number(UNBOUNDED) is None
    assert epsilon_number(1_500_000) == 1.5


def test_ids_get_their_prefix_and_names_do_not() -> None:
    assert hex_id("ab" * 32) == "0x" + "ab" * 32
    assert hex_id("0x" + "ab" * 32) == "0x" + "ab" * 32
    assert hex_id("cleveland\x1b") == "cleveland\\u{1b}"
    assert short("ab" * 20) == "0xabab..abab"
    assert short("cleveland") == "cleveland"


def test_delta_and_time_are_in_common_notation() -> None:
    assert delta_text(10**7) == "1e-05"
    assert time_text(0) == "1970-01-01 00:00:00Z"
