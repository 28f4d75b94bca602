"""Content that comes as a stream and is needed twice: once to be measured and named, once to be stored.

It waits in a file without a name, encrypted under a key that is nowhere but in this process: after a crash nothing can
be read of it, and nothing has to be tidied up. What fits into one chunk stays in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedchain.adapters.files import explained, make_folder
from fedchain.core.cid import CHUNK_BYTES, BytesLike, Cid, DagBuilder, cut

_TAG_BYTES: Final = 16


@dataclass(slots=True)
class Spool:
    """The content: its CID, its bytes, and its chunks as often as they are asked for."""

    cid: Cid
    size: int
    _first: bytes
    _rest: BinaryIO
    _cipher: AESGCM = field(repr=False)

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in chunks of 1 MiB."""
        yield self._first
        self._rest.seek(0)
        for number in range(1, -(-self.size // CHUNK_BYTES)):
            yield self._cipher.decrypt(_nonce(number), self._rest.read(CHUNK_BYTES + _TAG_BYTES), None)


@contextmanager
def spooled(parts: Iterable[BytesLike], folder: Path) -> Iterator[Spool]:
    """Read a stream to its end and keep it for the block, in memory of a few chunks.

    Raises:
        InputError: if `folder` has no room for it.
    """
    make_folder(folder)
    with ExitStack() as stack:
        with explained(folder):
            file = stack.enter_context(TemporaryFile(dir=folder))
        yield _filled(parts, file, folder)


def _filled(parts: Iterable[BytesLike], file: BinaryIO, folder: Path) -> Spool:
    cipher, dag, size, first = AESGCM(os.urandom(32)), DagBuilder(), 0, b""
    for number, chunk in enumerate(cut(parts)):
        dag.add(sha256(chunk).digest(), len(chunk))
        size += len(chunk)
        if number:
            with explained(folder):
                file.write(cipher.encrypt(_nonce(number), chunk, None))
        else:
            first = bytes(chunk)
    with explained(folder):
        file.flush()
    return Spool(dag.root(), size, first, file, cipher)


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")
