"""JSON of another party, parsed without trust in its depth.

Python's parser recurses in C, and libraries of this stack raise the recursion limit for the whole process (py_ecc to
100,000), so 100 kB of brackets would overflow the stack and kill the process. Depth is counted before parsing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final, TypeAlias

Json: TypeAlias = Any
Pairs: TypeAlias = list[tuple[str, Json]]

MAX_DEPTH: Final = 64
# A string is skipped whole, and an unterminated one to the end, so that the search takes linear time.
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse(data: bytes, object_of: Callable[[Pairs], Json] = dict) -> Json:
    """Return the value of a JSON text in UTF-8; `object_of` makes an object from its members, in their order.

    Raises:
        ValueError: if it is no JSON in UTF-8, or nested deeper than 64.
    """
    text = data.decode()
    if text.count("[") + text.count("{") > MAX_DEPTH:  # with fewer it cannot be that deep, whatever they mean
        _check_depth(text)
    return json.loads(text, object_pairs_hook=None if object_of is dict else object_of)


def _check_depth(text: str) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        if token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")
