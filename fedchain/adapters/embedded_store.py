"""The default store: one plain file an artifact in a folder, in need of no service.

Idea: the raw leaves of an artifact are slices of its file, so the file alone holds the content, and any tool can hash
it. The inner nodes of an artifact of more than one chunk lie beside it in `<cid>.dag`, which gives a stream the
digest of each chunk before it is read. Both are checked whole on every read. docs/format.md has the byte tables.

Crashes: the two are written under `tmp/`, synced, and renamed into place, the sidecar first. What a killed put leaves
behind is swept by the next one; writers share a lock, and only who gets it alone may sweep. A removal takes the content
away first, into `tmp/`, so that one that is killed is ended by the next sweep. Content and sidecar get and lose their
names under a second lock, so that a put and a removal of one artifact never leave one without the other.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Final

from fedchain.adapters.files import explained, make_folder, sync_folder
from fedchain.core.cid import CHUNK_BYTES, RAW, BytesLike, Cid, DagBuilder, cut, decode_node
from fedchain.core.errors import FormatError, IntegrityError, MissingArtifactError

_SIDECAR: Final = ".dag"
_LENGTH_BYTES: Final = 4
_MOST_SIDECAR_BYTES: Final = 1 << 30
"""Enough for an artifact of 20 TB; a longer file is not worth reading."""
_SYNC_EVERY: Final = 16
"""Chunks between two syncs in the background, so that the disk works while the next chunks are hashed."""
_REMEDY: Final = "put the artifact again from another copy"
_A_LINK_OR_SOCKET: Final = frozenset({errno.ELOOP, errno.ENXIO})


@dataclass(frozen=True, slots=True)
class _Draft:
    """A file being written under a name that nobody reads."""

    file: BinaryIO
    path: Path


class EmbeddedStore:
    """An ArtifactStore under `root`, which the first put creates; reading needs no write permission."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._drafts = root / "tmp"

    def put(self, data: BytesLike) -> Cid:
        """See ArtifactStore."""
        return self.put_stream([data])

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """See ArtifactStore."""
        with explained(self._root), self._writing(), ExitStack() as files, ExitStack() as undo:
            content = _new_draft(self._drafts, files, undo)
            cid, nodes = _write(content.file, parts)
            path = self._path(cid)
            finished = {path: content}
            if nodes:
                sidecar = _new_draft(self._drafts, files, undo)
                sidecar.file.write(nodes)
                finished = {_sidecar_of(path): sidecar, path: content}
            _sync(finished.values())
            make_folder(path.parent)
            undo.pop_all()  # a failure from here on leaves the content in tmp/, which makes the next put sweep
            with self._naming():
                for name, draft in finished.items():
                    draft.path.replace(name)
            sync_folder(path.parent)
        return cid

    def remove(self, cid: Cid) -> None:
        """See ArtifactStore."""
        path = self._path(cid)
        with explained(self._root):
            if not _is_there(path.parent):
                return
            with self._writing(), self._naming():
                leaving = self._drafts / f"{cid}.leaving"
                if _is_there(path):
                    path.replace(leaving)
                    sync_folder(path.parent)  # the content is gone before its sidecar is
                _sidecar_of(path).unlink(missing_ok=True)
                sync_folder(path.parent)
                leaving.unlink(missing_ok=True)

    def get(self, cid: Cid) -> bytes:
        """See ArtifactStore."""
        with self._reading(cid) as (content, leaves):
            data = content.read()
            if [sha256(chunk).digest() for chunk in cut([data])] != [digest for digest, _ in leaves]:
                raise _damaged(cid, content)
        return data

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """See ArtifactStore."""
        with self._reading(cid) as (content, leaves):
            for digest, size in leaves:
                chunk = content.read(size)
                if sha256(chunk).digest() != digest:
                    raise _damaged(cid, content)
                yield chunk

    def chunk(self, cid: Cid, choose: Callable[[int], int]) -> bytes:
        """See AuditedStore."""
        with self._reading(cid) as (content, leaves):
            number = choose(len(leaves))
            digest, size = leaves[number]
            content.seek(number * CHUNK_BYTES)
            chunk = content.read(size)
            if sha256(chunk).digest() != digest:
                raise _damaged(cid, content)
        return chunk

    def has(self, cid: Cid) -> bool:
        """See ArtifactStore."""
        with explained(self._root):
            return _is_there(self._path(cid))

    def cids(self) -> Iterator[Cid]:
        """See ArtifactStore. Files of other names are no artifacts and are passed over."""
        with explained(self._root):
            for path in self._files():
                try:
                    cid = Cid.parse(path.name)
                except FormatError:
                    continue
                if path == self._path(cid):
                    yield cid

    def _path(self, cid: Cid) -> Path:
        """Spread over 32 folders, named by the character before the last one, which holds three bits only."""
        text = cid.text
        return self._root / text[-2] / text

    def _files(self) -> Iterator[Path]:
        for folder in sorted(self._root.iterdir()) if _is_there(self._root) else ():
            if len(folder.name) == 1 and folder.is_dir():
                yield from sorted(folder.iterdir())

    @contextmanager
    def _reading(self, cid: Cid) -> Iterator[tuple[BinaryIO, list[tuple[bytes, int]]]]:
        """Open the content, no longer than its leaves allow, and say what each chunk must be."""
        with explained(self._root), ExitStack() as files:
            try:
                content = files.enter_context(_open_plain(self._path(cid), f"artifact {cid}"))
            except FileNotFoundError as error:
                raise self._missing(cid) from error
            leaves = self._leaves(cid)
            size = os.fstat(content.fileno()).st_size
            if size > sum(most for _, most in leaves):
                raise IntegrityError(
                    f"artifact {cid} is damaged", expected=cid, got=f"a longer file ({size} bytes)", remedy=_REMEDY
                )
            yield content, leaves

    def _leaves(self, cid: Cid) -> list[tuple[bytes, int]]:
        """Return digest and size limit of each chunk, from the name itself or from the verified sidecar."""
        if cid.codec == RAW:
            return [(cid.digest, CHUNK_BYTES)]
        try:
            with _open_plain(_sidecar_of(self._path(cid)), f"the sidecar of artifact {cid}") as file:
                if os.fstat(file.fileno()).st_size > _MOST_SIDECAR_BYTES:
                    raise _damaged_sidecar(cid, "a file too long for one")
                packed = file.read()
        except FileNotFoundError as error:
            if not _is_there(self._path(cid)):  # removed since the content was opened
                raise self._missing(cid) from error
            raise _damaged_sidecar(cid, "no file") from error
        try:
            return _verified_leaves(cid, packed)
        except FormatError as error:
            raise _damaged_sidecar(cid, error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold a writer's lock, after sweeping what killed puts left, unless another writer is at work."""
        make_folder(self._drafts)
        lock = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                self._sweep()
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Alone give and take names, which takes no longer than a few renames."""
        lock = os.open(self._root / "names", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def _missing(self, cid: Cid) -> MissingArtifactError:
        return MissingArtifactError(
            f"artifact {cid} is not in the store {self._root}", remedy="put it there from another copy"
        )

    def _sweep(self) -> None:
        leftovers = list(self._drafts.iterdir())
        if not leftovers:
            return
        # Sidecars first: while a leftover is there, the put after a killed sweep sweeps again.
        for path in self._files():
            if path.suffix == _SIDECAR and not _is_there(path.with_suffix("")):
                path.unlink()
        for leftover in leftovers:
            leftover.unlink()


def _new_draft(folder: Path, files: ExitStack, undo: ExitStack) -> _Draft:
    """Open a draft of mode 0600; `files` closes it, `undo` removes it."""
    descriptor, name = mkstemp(dir=folder)
    path = Path(name)
    undo.callback(path.unlink, missing_ok=True)
    return _Draft(files.enter_context(os.fdopen(descriptor, "wb")), path)


def _sync(drafts: Collection[_Draft]) -> None:
    """Wait until the disk has the drafts; all at a time, so that a journaling file system commits once."""
    for draft in drafts:
        draft.file.flush()
    with ThreadPoolExecutor() as pool:
        list(pool.map(os.fsync, [draft.file.fileno() for draft in drafts]))


def _write(content: BinaryIO, parts: Iterable[BytesLike]) -> tuple[Cid, bytes]:
    """Write `parts`, hashing each chunk once; return the CID and the bytes of the sidecar."""
    nodes = bytearray()
    dag = DagBuilder(lambda node: nodes.extend(_packed(node)))
    syncing: Future[None] | None = None
    with ThreadPoolExecutor(max_workers=1) as background:
        for number, chunk in enumerate(cut(parts), start=1):
            dag.add(sha256(chunk).digest(), len(chunk))
            content.write(chunk)
            if number % _SYNC_EVERY == 0:
                if syncing is not None:
                    syncing.result()  # the system reports a failed write-back once, so nobody may miss it
                syncing = background.submit(os.fsync, content.fileno())
    if syncing is not None:
        syncing.result()
    return dag.root(), bytes(nodes)


def _verified_leaves(cid: Cid, packed: bytes) -> list[tuple[bytes, int]]:
    """Build the tree again from the leaves that a sidecar names: the root and every byte must come out the same."""
    rebuilt = bytearray()
    dag = DagBuilder(lambda node: rebuilt.extend(_packed(node)))
    links = [link for node in _unpack(packed) for link in decode_node(node) if link.cid.codec == RAW]
    for link in links:
        dag.add(link.cid.digest, link.content_bytes)
    if dag.root() != cid:
        raise _damaged_sidecar(cid, dag.root())
    if rebuilt != packed:
        raise _damaged_sidecar(cid, "other nodes than follow from its leaves")
    return [(link.cid.digest, link.content_bytes) for link in links]


def _packed(node: bytes) -> bytes:
    return len(node).to_bytes(_LENGTH_BYTES, "little") + node


def _unpack(packed: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(packed):
        start = position + _LENGTH_BYTES
        position = start + int.from_bytes(packed[position:start], "little")
        yield packed[start:position]


def _is_there(path: Path) -> bool:
    """Follow no link and, unlike Path.exists, raise where it cannot be known."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def _open_plain(path: Path, what: str) -> BinaryIO:
    """Open a file for reading; IntegrityError if a link, a folder, a pipe or the like has its name."""
    not_plain = IntegrityError(f"{what} is damaged", expected="a plain file", got=f"something else at {path}")
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _A_LINK_OR_SOCKET:
            raise not_plain from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise not_plain
    return os.fdopen(descriptor, "rb")


def _sidecar_of(path: Path) -> Path:
    return path.with_name(path.name + _SIDECAR)


def _damaged(cid: Cid, content: BinaryIO) -> IntegrityError:
    content.seek(0)
    dag = DagBuilder()
    for chunk in cut(iter(partial(content.read, CHUNK_BYTES), b"")):
        dag.add(sha256(chunk).digest(), len(chunk))
    return IntegrityError(f"artifact {cid} is damaged", expected=cid, got=dag.root(), remedy=_REMEDY)


def _damaged_sidecar(cid: Cid, got: object) -> IntegrityError:
    return IntegrityError(f"the sidecar of artifact {cid} is damaged", expected=cid, got=got, remedy=_REMEDY)
