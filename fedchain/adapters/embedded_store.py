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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, Final

from fedchain.adapters.chunk_files import read_hashed, read_whole, write_hashed
from fedchain.adapters.files import explained, make_folder, sync_folder
from fedchain.adapters.sidecar import REMEDY, SIDECAR, damaged_sidecar, verified_leaves
from fedchain.adapters.store_files import artifact_files, folder_of
from fedchain.adapters.store_quota import Quota
from fedchain.core.cid import CHUNK_BYTES, RAW, BytesLike, Cid, DagBuilder, cid_of, cut
from fedchain.core.errors import FormatError, IntegrityError, MissingArtifactError

_MOSTSIDECAR_BYTES: Final = 1 << 30
"""Enough for an artifact of 20 TB; a longer file is not worth reading."""
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
        self._quota = Quota(root)

    def put(self, data: BytesLike) -> Cid:
        """See ArtifactStore. What is here already is put again even where the quota is used up."""
        size = memoryview(data).nbytes
        with explained(self._root):
            if not self._quota.has_room(size) and not self.has(cid_of(data)):
                self._quota.require_room(size)
        return self._put([data])

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """See ArtifactStore."""
        with explained(self._root):
            return self._put(self._quota.watched(parts))

    def _put(self, parts: Iterable[BytesLike]) -> Cid:
        with explained(self._root), self._writing(), ExitStack() as files, ExitStack() as undo:
            content = _new_draft(self._drafts, files, undo)
            cid, nodes = write_hashed(content.file, parts)
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
        self._remove(cid, lambda _: True)

    def remove_older(self, cid: Cid, before: int) -> bool:
        """Remove an artifact unless it was put again at the second `before` or after it; tell whether it is gone."""
        return self._remove(cid, lambda path: path.lstat().st_mtime < before)

    def tidy(self) -> bool:
        """Sweep what killed puts and removals left; False where a writer is at work, and nothing is swept."""
        with explained(self._root):
            return not _is_there(self._root) or self._tidied()

    def _remove(self, cid: Cid, may_go: Callable[[Path], bool]) -> bool:
        path = self._path(cid)
        with explained(self._root):
            if not _is_there(path.parent):
                return True
            with self._writing(), self._naming():
                leaving = self._drafts / f"{cid}.leaving"
                if _is_there(path):
                    if not may_go(path):
                        return False
                    path.replace(leaving)
                    sync_folder(path.parent)  # the content is gone before its sidecar is
                _sidecar_of(path).unlink(missing_ok=True)
                sync_folder(path.parent)
                leaving.unlink(missing_ok=True)
        return True

    def get(self, cid: Cid) -> bytes:
        """See ArtifactStore."""
        with self._reading(cid) as (content, leaves):
            data = read_whole(content, leaves)
            if data is None:
                raise _damaged(cid, content)
        return data

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """See ArtifactStore. While a chunk is handed out, the next ones are read and hashed."""
        with self._reading(cid) as (content, leaves):
            hashed = read_hashed(content, [size for _, size in leaves])
            for (digest, _), (chunk, found) in zip(leaves, hashed, strict=True):
                if found != digest:
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
            for path in artifact_files(self._root):
                try:
                    cid = Cid.parse(path.name)
                except FormatError:
                    continue
                if path == self._path(cid):
                    yield cid

    def _path(self, cid: Cid) -> Path:
        return folder_of(self._root, cid) / cid.text

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
                    f"artifact {cid} is damaged", expected=cid, got=f"a longer file ({size} bytes)", remedy=REMEDY
                )
            yield content, leaves

    def _leaves(self, cid: Cid) -> list[tuple[bytes, int]]:
        """Return digest and size limit of each chunk, from the name itself or from the verified sidecar."""
        if cid.codec == RAW:
            return [(cid.digest, CHUNK_BYTES)]
        try:
            with _open_plain(_sidecar_of(self._path(cid)), f"the sidecar of artifact {cid}") as file:
                if os.fstat(file.fileno()).st_size > _MOSTSIDECAR_BYTES:
                    raise damaged_sidecar(cid, "a file too long for one")
                packed = file.read()
        except FileNotFoundError as error:
            if not _is_there(self._path(cid)):  # removed since the content was opened
                raise self._missing(cid) from error
            raise damaged_sidecar(cid, "no file") from error
        try:
            return verified_leaves(cid, packed)
        except FormatError as error:
            raise damaged_sidecar(cid, error) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold a writer's lock, after sweeping what killed puts left, unless another writer is at work."""
        with self._locked_file("lock") as lock:
            if _is_alone(lock) and any(self._drafts.iterdir()):
                self._sweep()
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield

    def _tidied(self) -> bool:
        with self._locked_file("lock") as lock:
            is_alone = _is_alone(lock)
            if is_alone:
                self._sweep()
        return is_alone

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Alone give and take names, which takes no longer than a few renames."""
        with self._locked_file("names") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _locked_file(self, name: str) -> Iterator[int]:
        make_folder(self._drafts)
        lock = os.open(self._root / name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            yield lock
        finally:
            os.close(lock)

    def _missing(self, cid: Cid) -> MissingArtifactError:
        return MissingArtifactError(
            f"artifact {cid} is not in the store {self._root}", remedy="put it there from another copy"
        )

    def _sweep(self) -> None:
        # Sidecars first: while a leftover is there, the put after a killed sweep sweeps again.
        leftovers = list(self._drafts.iterdir())
        for path in artifact_files(self._root):
            if path.suffix == SIDECAR and not _is_there(path.with_suffix("")):
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
    if len(drafts) == 1:
        for draft in drafts:
            os.fsync(draft.file.fileno())
        return
    with ThreadPoolExecutor() as pool:
        list(pool.map(os.fsync, [draft.file.fileno() for draft in drafts]))


def _is_alone(lock: int) -> bool:
    """Take a lock alone, if nobody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    return path.with_name(path.name + SIDECAR)


def _damaged(cid: Cid, content: BinaryIO) -> IntegrityError:
    content.seek(0)
    dag = DagBuilder()
    for chunk in cut(iter(partial(content.read, CHUNK_BYTES), b"")):
        dag.add(sha256(chunk).digest(), len(chunk))
    return IntegrityError(f"artifact {cid} is damaged", expected=cid, got=dag.root(), remedy=REMEDY)
