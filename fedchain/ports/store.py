"""The store of artifacts, each under the name that its bytes have (`fedchain.core.cid`).

A name is a promise: whatever comes out of a store has been hashed on the way and has the CID that was asked for.
The record of a run only ever adds artifacts. What removes one is garbage collection, or an erasure, which destroys the
keys of an encrypted artifact first: other copies of it may be out of this store's reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from fedchain.core.cid import BytesLike, Cid


class ArtifactStore(Protocol):
    """Keeps artifacts and gives them back verified.

    Every method raises InputError where the store itself cannot be used: no permission, a full disk.
    """

    def put(self, data: BytesLike) -> Cid:
        """Keep an artifact and return its CID once it is durable.

        Putting the same bytes again changes nothing, except that it heals a damaged artifact.
        """
        ...

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """Keep the concatenation of `parts`, cut anywhere, in memory that does not grow with its content."""
        ...

    def get(self, cid: Cid) -> bytes:
        """Return the bytes of an artifact, verified.

        Raises:
            MissingArtifactError: if the store has no such artifact.
            IntegrityError: if what it has under this name does not have this CID.
        """
        ...

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """Yield an artifact in chunks of 1 MiB, each verified before it is handed out; an empty one is one empty chunk.

        Raises the errors of `get`, at the latest after the last chunk: a consumer that must not act on a damaged
        artifact waits for the end.
        """
        ...

    def has(self, cid: Cid) -> bool:
        """Tell whether something is kept under this name; only reading it verifies it."""
        ...

    def cids(self) -> Iterator[Cid]:
        """Yield the names of all artifacts, in no particular order."""
        ...

    def remove(self, cid: Cid) -> None:
        """Forget an artifact, durably: unpin it, or delete it with all that lies beside it; a missing one is no error.

        After a crash in the middle the artifact is whole or missing, and removing it again ends the work. Other
        artifacts keep the chunks that they share with it.
        """
        ...


class AuditedStore(ArtifactStore, Protocol):
    """A store that can be asked for one piece, to see whether it still has what it says."""

    def chunk(self, cid: Cid, choose: Callable[[int], int]) -> bytes:
        """Return one chunk, verified: the one that `choose` names, from 0, when it is told how many there are.

        Raises the errors of `get`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Replica:
    """One of several stores that keep the same artifacts; one that is not written to is asked where the others fail."""

    name: str
    store: AuditedStore
    is_written: bool
