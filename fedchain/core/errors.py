"""Errors, divided by what the caller can do about them.

Every message says what went wrong, what was expected, what came instead and what to do, in one line.
The command line maps each class to one exit code (see `fedchain.cli.exits`).
"""

from __future__ import annotations


class FedchainError(Exception):
    """Root of every error that fedchain raises on purpose."""

    def __init__(
        self,
        what: str,
        *,
        expected: object | None = None,
        got: object | None = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.expected = None if expected is None else str(expected)
        self.got = None if got is None else str(got)
        self.remedy = remedy
        super().__init__(self._line())

    def _line(self) -> str:
        parts = [self.what]
        if self.expected is not None:
            parts.append(f"expected {self.expected}" + ("" if self.got is None else f", got {self.got}"))
        elif self.got is not None:
            parts.append(f"got {self.got}")
        line = ": ".join(parts)
        return line if self.remedy is None else f"{line}; {self.remedy}"


class InputError(FedchainError):
    """The user's input or environment is wrong: a config key, a file, a permission, a full disk (exit 2)."""


class FormatError(InputError):
    """Bytes of another party do not have the documented form."""


class MissingArtifactError(InputError):
    """A content identifier names an artifact that the store does not have."""


class LockedArtifactError(InputError):
    """An artifact is there and encrypted, and this reader has no key that opens it."""


class IntegrityError(FedchainError):
    """Bytes are readable but do not match their digest, signature or commitment (exit 1)."""


class PolicyError(FedchainError):
    """A policy stopped the work: grant exhausted, cohort too small, approval missing (exit 4)."""


class UnreachableError(FedchainError):
    """A service did not answer (exit 5)."""


class RejectedTransactionError(FedchainError):
    """A contract refused a transaction; `what` carries the decoded custom error (exit 1)."""
