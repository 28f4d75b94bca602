"""The payloads of updates on their way: a site makes them unreadable to others, the aggregator opens and keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.cid import Cid
from fedchain.core.encryption import KeyContext
from fedchain.core.envelope import Envelope


@dataclass(frozen=True, slots=True)
class ReadyPayload:
    """A payload as it leaves a site, its CID, and its data key wrapped for each reader (empty where it is plain)."""

    payload: bytes
    cid: Cid
    keys: bytes


class PayloadWriter(Protocol):
    """A site's side."""

    def write(self, envelope: Envelope, context: KeyContext) -> ReadyPayload:
        """Return the payload of an envelope under a fresh data key, whose wrapped keys are durable before it returns.

        Raises:
            InputError: if they cannot be kept.
        """
        ...

    def keys_of(self, payload: bytes) -> bytes:
        """Return the wrapped keys of a payload that was written before.

        Raises:
            LockedArtifactError: if they were erased.
        """
        ...


class PayloadReader(Protocol):
    """The aggregator's side."""

    def open(self, ready: ReadyPayload, context: KeyContext) -> Envelope:
        """Return a payload's envelope; the caller has computed its CID from its bytes.

        Raises:
            FormatError: if the keys are no document, are for something else, do not open the payload, or were erased
                here before; or if a payload in plain is no envelope.
        """
        ...

    def keep(self, payloads: Sequence[ReadyPayload]) -> None:
        """Keep payloads as they came, and first their keys for every reader whose ring is here.

        Raises:
            InputError: if either cannot be kept.
        """
        ...

    def kept(self, cid: Cid) -> bytes:
        """Return a kept payload as it came.

        Raises:
            MissingArtifactError: if there is none.
            IntegrityError: if it is damaged.
        """
        ...
