"""The journal: what the round machine decided, durable before each side effect.

After a crash the machine reads it from the start and goes on where it stopped. The steps are all that it can be
interrupted between.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Step(enum.StrEnum):
    """Every kind of entry, in the order of a round."""

    PLANNED = "planned"
    OPENED = "opened"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DECIDED = "decided"
    SEALING = "sealing"
    SEALED = "sealed"
    COUNTERSIGNED = "countersigned"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Entry:
    """One step with its body, a canonical document."""

    step: Step
    body: bytes


class Journal(Protocol):
    """Append-only, one per run, safe for use from several threads of one process."""

    def append(self, entry: Entry) -> None:
        """Write an entry durably (fsync) before it returns.

        Raises:
            InputError: if it cannot be written (full disk, permission); nothing is half-written then.
        """
        ...

    def entries(self) -> Sequence[Entry]:
        """Return all entries. A torn last entry was never acknowledged and is dropped.

        Raises:
            IntegrityError: if an entry before the last is damaged.
        """
        ...
