"""How values are written for people: hostile characters made visible, numbers with their meaning.

Strings of other parties (names, reasons, file paths) may carry terminal escapes, line breaks or Unicode's direction
marks that show something else than what is there ("Trojan Source", Boucher and Anderson 2021). All of them are shown as
their code point.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import Final

from fedchain.core.privacy import epsilon_of

UNBOUNDED_EPSILON: Final = "unbounded"
_LONGEST: Final = 400
_HEX_ID: Final = re.compile(r"(0x)?[0-9a-f]{40,}")


def safe(text: str, longest: int = _LONGEST) -> str:
    """Return the text on one line, each control, format or unassigned character as its code point, cut at `longest`."""
    shown = "".join(_visible(each) for each in text[:longest])
    return shown if len(text) <= longest else f"{shown}... ({len(text)} characters)"


def hex_id(text: str) -> str:
    """Return an id, digest or address with its 0x; other text as it is, made safe."""
    return f"0x{text.removeprefix('0x')}" if _HEX_ID.fullmatch(text) else safe(text)


def short(text: str) -> str:
    """Return a long id as its two ends, for tables and progress lines; names as they are."""
    if _HEX_ID.fullmatch(text):
        plain = text.removeprefix("0x")
        return f"0x{plain[:4]}..{plain[-4:]}"
    return safe(text, 40)


def epsilon_text(micro_epsilon: int) -> str:
    """Return an epsilon with three decimals, rounded up so that the loss is never understated."""
    epsilon = epsilon_of(micro_epsilon)
    return UNBOUNDED_EPSILON if epsilon == float("inf") else f"{-(-micro_epsilon // 1000) / 1000:.3f}"


def epsilon_number(micro_epsilon: int) -> float | None:
    """Return an epsilon for JSON, which knows no infinity: None where no noise bounds the loss."""
    epsilon = epsilon_of(micro_epsilon)
    return None if epsilon == float("inf") else epsilon


def delta_text(delta_e12: int) -> str:
    """Return delta in scientific notation."""
    return f"{delta_e12 / 10**12:g}"


def time_text(seconds: int) -> str:
    """Return a time as ISO 8601 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _visible(character: str) -> str:
    if unicodedata.category(character)[0] == "C" or unicodedata.category(character) in ("Zl", "Zp"):
        return f"\\u{{{ord(character):x}}}"
    return character
