from __future__ import annotations

import itertools

import pytest

from fedchain.cli.exits import MEANING, PRECEDENCE, Exit, exit_of_error, exit_of_verdict, worst
from fedchain.core.errors import (
    FedchainError,
    FormatError,
    InputError,
    IntegrityError,
    LockedArtifactError,
    MissingArtifactError,
    PolicyError,
    RejectedTransactionError,
    UnreachableError,
)
from fedchain.core.lineage import Verdict


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (InputError, 2),
        (FormatError, 2),
        (MissingArtifactError, 2),
        (IntegrityError, 1),
        (RejectedTransactionError, 1),
        (PolicyError, 4),
        (UnreachableError, 5),
        (FedchainError, 70),
    ],
)
def test_every_error_has_its_code(kind: type[FedchainError], code: int) -> None:
    assert exit_of_error(kind("what")) == code


def test_no_error_class_is_forgotten() -> None:
    known = {InputError, FormatError, MissingArtifactError, IntegrityError, RejectedTransactionError, PolicyError}
    below = set(FedchainError.__subclasses__()) | set(InputError.__subclasses__())
    ours = {each for each in below if each.__module__ == "fedchain.core.errors"}
    assert ours == known | {LockedArtifactError, UnreachableError}


def test_every_verdict_has_its_code() -> None:
    assert {verdict: int(exit_of_verdict(verdict)) for verdict in Verdict} == {
        Verdict.VERIFIED: 0,
        Verdict.ANCHORED: 3,
        Verdict.SELF_CONSISTENT: 3,
        Verdict.FINDINGS: 1,
    }


def test_the_precedence_is_the_documented_one() -> None:
    assert [int(code) for code in PRECEDENCE] == [70, 2, 5, 1, 4, 3, 0]


def test_the_worst_of_several_is_the_first_in_precedence_in_any_order() -> None:
    for pair in itertools.permutations(PRECEDENCE, 2):
        assert worst(pair) == min(pair, key=PRECEDENCE.index)
    assert worst([]) == Exit.DONE


def test_every_code_has_a_meaning() -> None:
    assert set(MEANING) == set(Exit)
