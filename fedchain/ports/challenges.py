"""The book of challenges: what anyone may demand of the aggregator, and prove of a site that spent too much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.challenges import Equivocation, Included, Overspend, PromiseState, Refused
from fedchain.core.messages import InclusionPromise
from fedchain.core.task import SignedPromise


@dataclass(frozen=True, slots=True)
class BookIdentity:
    """The two contracts of challenges, the rounds that they are about, and the seconds for an answer."""

    chain_id: int
    challenges_contract: bytes
    privacy_contract: bytes
    rounds_contract: bytes
    answer_window_s: int


@dataclass(frozen=True, slots=True)
class Omission:
    """A promise that was challenged: by whom it is signed, until when to answer (seconds), what became of it."""

    promise: InclusionPromise
    signer: bytes
    answer_by: int
    state: PromiseState


@dataclass(frozen=True, slots=True)
class Exposure:
    """A key that signed two hashes of one round."""

    signer: bytes
    run: bytes
    round: int
    one_hash: bytes
    other_hash: bytes


@dataclass(frozen=True, slots=True)
class Freeze:
    """A dataset whose update passed its limit (micro-epsilon); `is_frozen` until its site consents anew."""

    dataset: bytes
    run: bytes
    round: int
    micro_epsilon_total: int
    limit: int
    is_frozen: bool


class ChallengeBook(Protocol):
    """Reads are of confirmed state; writes return the transaction's hash when confirmed, and anyone may send them.

    Every write raises RejectedTransactionError where the contract finds nothing proven, and UnreachableError where the
    ledger does not answer.
    """

    def identity(self) -> BookIdentity:
        """Return chain and contracts."""
        ...

    def omissions(self) -> Sequence[Omission]:
        """Return every promise that was ever challenged, oldest first."""
        ...

    def exposures(self) -> Sequence[Exposure]:
        """Return every equivocation that was shown, oldest first."""
        ...

    def freezes(self) -> Sequence[Freeze]:
        """Return every freeze, oldest first."""
        ...

    def challenge_omission(self, promised: SignedPromise, signer: bytes) -> bytes:
        """Demand that a promise, whose time is over, is shown to be kept."""
        ...

    def answer(self, answer: Included | Refused) -> bytes:
        """Show what became of a promised update, within the window."""
        ...

    def conclude(self, promise: InclusionPromise) -> bytes:
        """State that nobody answered, after the window."""
        ...

    def prove_equivocation(self, shown: Equivocation) -> bytes:
        """Show that a device or an aggregator signed two hashes of one round."""
        ...

    def challenge_overspend(self, shown: Overspend) -> bytes:
        """Freeze a dataset by a sealed update above its grant."""
        ...
