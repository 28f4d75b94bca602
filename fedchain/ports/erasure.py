"""Erasing keys at whoever holds them, and what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fedchain.core.cid import Cid
from fedchain.core.erasure import ErasureOrder, SignedDeletion
from fedchain.ports.signer import Signer


class KeyHolder(Protocol):
    """A reader that can destroy the keys it holds, and sign that it did."""

    @property
    def reader(self) -> bytes:
        """The id of its reading key (`core.encryption.key_id`)."""
        ...

    @property
    def signer(self) -> Signer:
        """The key that signs its deletion receipts."""
        ...

    def has_held(self, cid: Cid) -> bool:
        """Tell whether it holds the keys of a payload, or held them until they were erased."""
        ...

    def erase(self, cids: Sequence[Cid]) -> None:
        """Destroy the keys of payloads durably; again changes nothing.

        Raises:
            InputError: if they cannot be destroyed.
        """
        ...


class ErasureJournal(Protocol):
    """What was ordered to be erased, and the receipts. All writes are durable, and repeating one changes nothing."""

    def begin(self, order: ErasureOrder) -> None:
        """Keep an order before anything is erased."""
        ...

    def unfinished(self) -> Sequence[ErasureOrder]:
        """Return the orders that were begun and not finished."""
        ...

    def keep(self, deletion: SignedDeletion) -> None:
        """Keep a receipt; of two for one payload and reader the first stands."""
        ...

    def receipts(self) -> Sequence[SignedDeletion]:
        """Return all receipts."""
        ...

    def finish(self, order: ErasureOrder) -> None:
        """Note that an order was carried out."""
        ...
