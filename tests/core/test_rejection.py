from __future__ import annotations

import pytest

from fedchain.core.rejection import Reason

CODES = {
    "FLOAT32": 1, "FLOAT64": 2, "BOOL": 3, "COMPLEX": 4, "NOT_NUMERIC": 5, "NOT_FINITE": 6, "OUT_OF_RANGE": 7,
    "OTHER_ENCODING": 8, "SHAPE_OF_ONE": 9, "OTHER_SHAPE": 10, "MISSING_TENSOR": 11, "EXTRA_TENSOR": 12,
    "DUPLICATE_NAME": 13, "NOT_CANONICAL": 14, "ZERO_WEIGHT": 15, "NEGATIVE_WEIGHT": 16, "OTHER_WEIGHT": 17,
    "NORM_ABOVE_BOUND": 18, "OTHER_BASE_MODEL": 19, "OTHER_ROUND": 20, "OTHER_RUN": 21, "OTHER_LEDGER": 22,
    "PAST_DEADLINE": 23, "BAD_SIGNATURE": 24, "KEY_NOT_VALID": 25, "DUPLICATE": 26, "MALFORMED": 27,
    "OTHER_CONFIGURATION": 28, "NO_CONSENT": 29, "PRIVACY_MISSTATED": 30, "PAYLOAD_MISMATCH": 31,
    "GRANT_EXCEEDED": 32, "ROUND_ABORTED": 33, "CANNOT_BE_OPENED": 34, "NOT_ENCRYPTED": 35, "OTHER_CONTROL": 36,
    "OTHER_CLIENTS": 37,
}  # fmt: skip
"""What stands on ledgers already: a code may be added here, none may change."""


def test_a_recorded_code_never_changes_its_meaning() -> None:
    assert {reason.name: int(reason) for reason in Reason} == CODES


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_words_of_its_own(reason: Reason) -> None:
    assert reason.words
    assert [each for each in Reason if each.words == reason.words] == [reason]


def test_codes_fit_the_leaf() -> None:
    assert all(0 < reason < 2**16 for reason in Reason)
