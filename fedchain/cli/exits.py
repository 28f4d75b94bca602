"""The one table of exit codes, for all verbs."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from fedchain.core.errors import (
    FedchainError,
    InputError,
    IntegrityError,
    PolicyError,
    RejectedTransactionError,
    UnreachableError,
)
from fedchain.core.lineage import Verdict


class Exit(enum.IntEnum):
    """What a verb ends with."""

    DONE = 0
    FINDINGS = 1
    INPUT = 2
    UNPINNED = 3
    POLICY = 4
    UNREACHABLE = 5
    BUG = 70
    INTERRUPTED = 130
    CLOSED_PIPE = 141


MEANING: Final = {
    Exit.DONE: "done; for verify and lineage: verified against a pinned head",
    Exit.FINDINGS: "findings: something in the record does not hold",
    Exit.INPUT: "the input or the environment: a config key, a file, a permission, a full disk",
    Exit.UNPINNED: "self-consistent, but no pinned head; or payloads that nobody here can open",
    Exit.POLICY: "a policy stopped it: grant exhausted, too few clients, an approval missing",
    Exit.UNREACHABLE: "a service does not answer",
    Exit.BUG: "a bug of fedchain; the traceback is in a file that the message names",
    Exit.INTERRUPTED: "interrupted (Ctrl-C); repeat the command to resume",
    Exit.CLOSED_PIPE: "the reader of the output went away",
}
PRECEDENCE: Final = (Exit.BUG, Exit.INPUT, Exit.UNREACHABLE, Exit.FINDINGS, Exit.POLICY, Exit.UNPINNED, Exit.DONE)
"""Where several hold, the first of these is the exit code."""

_BY_ERROR: Final[tuple[tuple[type[FedchainError], Exit], ...]] = (
    (InputError, Exit.INPUT),
    (UnreachableError, Exit.UNREACHABLE),
    (IntegrityError, Exit.FINDINGS),
    (RejectedTransactionError, Exit.FINDINGS),
    (PolicyError, Exit.POLICY),
)
_BY_VERDICT: Final = {
    Verdict.VERIFIED: Exit.DONE,
    Verdict.ANCHORED: Exit.UNPINNED,
    Verdict.SELF_CONSISTENT: Exit.UNPINNED,
    Verdict.FINDINGS: Exit.FINDINGS,
}


def exit_of_error(error: FedchainError) -> Exit:
    """Return the exit code of an error; a class that the table does not know is a bug of ours."""
    return next((code for kind, code in _BY_ERROR if isinstance(error, kind)), Exit.BUG)


def exit_of_verdict(verdict: Verdict) -> Exit:
    """Return the exit code of an audit."""
    return _BY_VERDICT[verdict]


def worst(codes: Iterable[Exit]) -> Exit:
    """Return the code that stands first in the precedence, `DONE` for none."""
    found = set(codes)
    return next((code for code in PRECEDENCE if code in found), Exit.DONE)
