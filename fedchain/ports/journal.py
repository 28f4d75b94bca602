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

    def append(self, *entries: Entry) -> None:
        """Write entries durably, in one fsync, before it returns; a crash before that may leave the first ones.

        Raises:
            InputError: if they cannot be written (full disk, permission); none is then, nor half of one.
        """
        ...

    def entries(self) -> Sequence[Entry]:
        """Return all entries. A torn last entry was never acknowledged and is dropped.

        Raises:
            IntegrityError: if an entry before the last is damaged.
        """
        ...
