"""An ArtifactStore in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from fedchain.core.cid import BytesLike, Cid, cid_of, cut
from fedchain.core.errors import IntegrityError, MissingArtifactError


class MemoryStore:
    """Keeps artifacts by CID; `artifacts` is open to tests that damage or lose one."""

    def __init__(self) -> None:
        self.artifacts: dict[Cid, bytes] = {}

    def put(self, data: BytesLike) -> Cid:
        cid = cid_of(data)
        self.artifacts[cid] = bytes(data)
        return cid

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        return self.put(b"".join(bytes(chunk) for chunk in cut(parts)))

    def get(self, cid: Cid) -> bytes:
        if cid not in self.artifacts:
            raise MissingArtifactError(f"artifact {cid} is not in the store")
        data = self.artifacts[cid]
        if cid_of(data) != cid:
            raise IntegrityError(f"artifact {cid} is damaged", expected=cid, got=cid_of(data))
        return data

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        for chunk in cut([self.get(cid)]):
            yield bytes(chunk)

    def chunk(self, cid: Cid, choose: Callable[[int], int]) -> bytes:
        chunks = list(self.chunks(cid))
        return chunks[choose(len(chunks))]

    def has(self, cid: Cid) -> bool:
        return cid in self.artifacts

    def cids(self) -> Iterator[Cid]:
        yield from self.artifacts

    def remove(self, cid: Cid) -> None:
        self.artifacts.pop(cid, None)
