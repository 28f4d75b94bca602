"""What is told of a signature or a transaction before it is made, and after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Signing:
    """Somebody is about to sign `sentence`, or a transaction that says it is about to be sent."""

    who: str
    sentence: str


Announce: TypeAlias = Callable[[Signing], None]
"""Is told of each signature and transaction before it is made."""


@dataclass(frozen=True, slots=True)
class Acted:
    """One step that was done; `transaction` is empty for a vote that waits for others."""

    signing: Signing
    transaction: bytes


@dataclass(frozen=True, slots=True)
class Tally:
    """What an act did, and in words what is missing to a quorum, empty where nothing is."""

    done: tuple[Acted, ...]
    missing: str = ""
