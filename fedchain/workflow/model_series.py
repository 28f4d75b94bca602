"""The models of a run in a store: now and then a whole one, between them what each changed in the one before.

A stored model says itself what it is, so whoever has the CID and the store has the model, and nothing else is recorded.
A model is a delta before it is given to the store: one that encrypts what it is given encrypts the delta.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fedchain.core.cid import Cid
from fedchain.core.delta import HEADER_BYTES, MAX_DEPTH, DeltaHeader, decode, encode
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.core.manifest import ArtifactRef
from fedchain.core.tensors import model_digest
from fedchain.ports.store import ArtifactStore

SMALLEST: Final = 1 << 14
"""Models of fewer bytes are kept whole: there is nothing to be saved."""
_WORTH_IT: Final = 0.9
_REMEMBERED: Final = 2


@dataclass(slots=True)
class ModelSeries:
    """Puts and gets models; remembers the last two, so that reading a run in its order unpacks each delta once.

    Every `snapshot_every`-th model is whole; with 1 all are.
    """

    store: ArtifactStore
    snapshot_every: int = 1
    _known: dict[Cid, bytes] = field(default_factory=dict[Cid, bytes])

    def put(self, model: bytes, parent: ArtifactRef, *, is_last: bool = False) -> ArtifactRef:
        """Keep a model, as its difference to `parent` where that is worth it, and return what names it.

        The last model of a run is whole: it is the one that is handed on.
        """
        digest = model_digest(model)
        stored = None if is_last else self._delta(model, digest, parent)
        cid = self.store.put(model if stored is None else stored)
        self._remember(cid, model)
        return ArtifactRef(cid.text, digest)

    def get(self, cid: Cid) -> bytes:
        """Return a model, whole and verified.

        Raises:
            MissingArtifactError: if it, or a model that it is a difference to, is not there.
            IntegrityError: if what is there does not add up to it.
        """
        chain: list[tuple[Cid, DeltaHeader]] = []
        while cid not in self._known and (header := self._header(cid)) is not None:
            if chain and header.depth != chain[-1][1].depth - 1:
                raise IntegrityError(f"model {cid}", expected=f"a depth of {chain[-1][1].depth - 1}", got=header.depth)
            chain.append((cid, header))
            cid = header.parent
        model = self._known[cid] if cid in self._known else self.store.get(cid)
        self._remember(cid, model)
        for child, header in reversed(chain):
            model = self._unpacked(child, header, model)
            self._remember(child, model)
        return model

    def _delta(self, model: bytes, digest: bytes, parent: ArtifactRef) -> bytes | None:
        if self.snapshot_every == 1 or len(model) < SMALLEST:
            return None
        cid = Cid.parse(parent.cid)
        below = self._header(cid)
        depth = 1 if below is None else below.depth + 1
        if depth >= self.snapshot_every or depth > MAX_DEPTH:
            return None
        delta = encode(self.get(cid), model)
        if delta is None or HEADER_BYTES + len(delta) > _WORTH_IT * len(model):
            return None
        return DeltaHeader(depth, cid, parent.digest, digest).to_bytes() + delta

    def _header(self, cid: Cid) -> DeltaHeader | None:
        try:
            return DeltaHeader.of(next(self.store.chunks(cid)))
        except FormatError as error:
            raise IntegrityError(f"model {cid}", expected="a snapshot or a delta", got=error) from error

    def _unpacked(self, cid: Cid, header: DeltaHeader, parent: bytes) -> bytes:
        found = model_digest(parent)
        if found != header.parent_digest:
            raise IntegrityError(f"the model below {cid}", expected=header.parent_digest.hex(), got=found.hex())
        try:
            model = decode(parent, self.store.get(cid)[HEADER_BYTES:])
        except FormatError as error:
            raise IntegrityError(f"model {cid}", expected=header.digest.hex(), got=error) from error
        found = model_digest(model)
        if found != header.digest:
            raise IntegrityError(f"model {cid}", expected=header.digest.hex(), got=found.hex())
        return model

    def _remember(self, cid: Cid, model: bytes) -> None:
        self._known.pop(cid, None)
        self._known[cid] = model
        while len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]
