from __future__ import annotations

import pytest

from fedchain.core.errors import FedchainError, FormatError, InputError, IntegrityError, MissingArtifactError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FedchainError("what"), "what"),
        (FedchainError("what", expected=1, got=2), "what: expected 1, got 2"),
        (FedchainError("what", expected=1), "what: expected 1"),
        (FedchainError("what", got=2), "what: got 2"),
        (FedchainError("what", remedy="do this"), "what; do this"),
        (FedchainError("what", expected=0, got="", remedy="do this"), "what: expected 0, got ; do this"),
    ],
)
def test_an_error_is_one_line_of_what_expected_got_and_remedy(error: FedchainError, line: str) -> None:
    assert str(error) == line


def test_bytes_of_another_party_are_input_and_a_broken_promise_is_not() -> None:
    assert issubclass(FormatError, InputError)
    assert issubclass(MissingArtifactError, InputError)
    assert not issubclass(IntegrityError, InputError)
