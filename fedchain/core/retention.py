"""How long artifacts are kept: their kinds, the policy of a home, and holds, which no policy passes over.

Manifests, configurations, policies, reports and models are kept for ever. The payloads of updates and the replies that
were refused come from people's data, and may be given an end. Nothing in here names a person: a hold has a code.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, cast

from fedchain.core.cid import Cid
from fedchain.core.errors import FormatError
from fedchain.core.json_text import Json, parse

POLICY_FORMAT: Final = "fedchain/retention/1"
HOLD_FORMAT: Final = "fedchain/hold/1"
REMOVALS_FORMAT: Final = "fedchain/removals/1"
DAY_S: Final = 24 * 3600


class Kind(enum.StrEnum):
    """What an artifact is to the record."""

    RECORD = "record"
    MODEL = "model"
    PAYLOAD = "payload"
    REJECTED = "rejected"


class HoldReason(enum.StrEnum):
    """Why evidence is held."""

    AUDIT = "audit"
    INCIDENT = "incident"
    LITIGATION = "litigation"
    REGULATOR = "regulator"
    RESEARCH = "research"


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days after a round ended; None is for ever.

    `released_days` count from the end of a released version's approvals, and keep all that it rests on.
    `unnamed_days` is how long an artifact that nothing names is left alone.
    """

    format: str
    payload_days: int | None
    rejected_days: int | None
    released_days: int | None
    unnamed_days: int

    def __post_init__(self) -> None:
        days = (self.payload_days, self.rejected_days, self.released_days, self.unnamed_days)
        if self.format != POLICY_FORMAT or any(each is not None and each < 0 for each in days):
            raise FormatError("retention policy", expected=f"{POLICY_FORMAT} with days from 0 on", got=days)

    def ends(self, kind: Kind, at: int) -> int | None:
        """Return the second from which an artifact of a round that ended at `at` need not be kept; None is never."""
        days = {Kind.PAYLOAD: self.payload_days, Kind.REJECTED: self.rejected_days}.get(kind)
        return None if days is None else at + days * DAY_S


KEEP_ALL: Final = RetentionPolicy(POLICY_FORMAT, None, None, None, 7)
"""What holds where a home says nothing."""


@dataclass(frozen=True, slots=True)
class HoldEvent:
    """Evidence was held or released (`is_held`) for a reason, at a second."""

    is_held: bool
    reason: HoldReason
    at: int


@dataclass(frozen=True, slots=True)
class Hold:
    """All that was decided about keeping a model's evidence, oldest first: its run up to the round that made it."""

    format: str
    run: bytes
    round: int
    model: bytes
    events: tuple[HoldEvent, ...]

    @property
    def is_held(self) -> bool:
        """Whether it is held now."""
        return bool(self.events) and self.events[-1].is_held


class Why(enum.StrEnum):
    """Why an artifact was removed."""

    UNNAMED = "unnamed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Removal:
    """An artifact that was removed, with the bytes that it took."""

    cid: str
    why: Why
    size: int


@dataclass(frozen=True, slots=True)
class Removals:
    """What one garbage collection set out to remove, at a second, under a policy; written before it does."""

    format: str
    at: int
    policy: RetentionPolicy
    removed: tuple[Removal, ...]


def cids_in(document: bytes) -> Iterator[Cid]:
    """Yield every CID that stands in a document as a text, wherever it stands.

    Raises:
        FormatError: if it is no JSON.
    """
    for text in _texts(_parsed(document)):
        try:
            yield Cid.parse(text)
        except FormatError:
            continue


def digests_in(document: bytes) -> Iterator[bytes]:
    """Yield every 32 bytes that stand in a document.

    Raises:
        FormatError: if it is no JSON.
    """
    for text in _texts(_parsed(document)):
        if len(text) == 66 and text.startswith("0x"):
            try:
                yield bytes.fromhex(text[2:])
            except ValueError:
                continue


def _parsed(document: bytes) -> Json:
    try:
        return parse(document)
    except ValueError as error:
        raise FormatError("a document is not JSON", got=error) from error


def _texts(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for each in cast("list[object]", value):
                yield from _texts(each)
        case dict():
            for each in cast("dict[str, Json]", value).values():
                yield from _texts(each)
        case _:
            pass
