"""The files of the embedded store, seen by whoever keeps house in it: what there is, damaged, left over or strange.

Looking changes nothing. What is removed is removed by `EmbeddedStore` alone, which knows who else is at work.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.files import explained
from fedchain.adapters.sidecar import SIDECAR
from fedchain.core.cid import DAG_PB, Cid
from fedchain.core.errors import FormatError, IntegrityError, MissingArtifactError
from fedchain.ports.store import ArtifactStore

_OURS: Final = frozenset({"lock", "names", "quota", "tmp"})


class Flaw(enum.StrEnum):
    """What can be wrong with a file of the store."""

    DAMAGED = "damaged"
    LONELY = "sidecar without artifact"
    LEFTOVER = "leftover"
    STRANGE = "no artifact"


@dataclass(frozen=True, slots=True)
class Stored:
    """An artifact's file with the bytes that it and its sidecar take, and the second of its last change."""

    cid: Cid
    size: int
    changed_at: int


@dataclass(frozen=True, slots=True)
class FileFlaw:
    """A file that is not as it should be, by its path in the store; `cid` where it has the name of an artifact."""

    flaw: Flaw
    path: str
    cid: Cid | None
    detail: str


def folder_of(root: Path, cid: Cid) -> Path:
    """Spread over 32 folders, named by the character before the last one, which holds three bits only."""
    return root / cid.text[-2]


def stored(root: Path) -> Iterator[Stored]:
    """Yield every artifact of the store at `root`. One that is removed meanwhile is passed over."""
    with explained(root):
        for path in artifact_files(root):
            cid = _named(root, path)
            if cid is None:
                continue
            try:
                status = path.lstat()
                sidecar = path.with_name(path.name + SIDECAR)
                beside = sidecar.lstat().st_size if cid.codec == DAG_PB and sidecar.is_file() else 0
            except FileNotFoundError:
                continue
            yield Stored(cid, status.st_size + beside, int(status.st_mtime))


def usage(root: Path) -> int:
    """Return how many bytes the store's files have, drafts and strays included."""
    with explained(root):
        return sum(_size(path) for path in root.rglob("*")) if root.is_dir() else 0


def flaws(root: Path, store: ArtifactStore) -> Iterator[FileFlaw]:
    """Read every file of the store at `root` and yield what is wrong with it."""
    with explained(root):
        if not root.is_dir():
            return
        for path in sorted(root.iterdir()):
            if path.name == "tmp" and path.is_dir():
                yield from (
                    _flaw(Flaw.LEFTOVER, root, each, None, "of a killed or running put") for each in path.iterdir()
                )
            elif path.name not in _OURS and not (path.is_dir() and len(path.name) == 1):
                yield _flaw(Flaw.STRANGE, root, path, None, "a name that the store does not give")
        for path in artifact_files(root):
            found = _file_flaw(root, path, store)
            if found is not None:
                yield found


def artifact_files(root: Path) -> Iterator[Path]:
    """Yield every file where artifacts and their sidecars lie, sorted in each folder."""
    for folder in sorted(root.iterdir()) if root.is_dir() else ():
        if len(folder.name) == 1 and folder.is_dir():
            yield from sorted(folder.iterdir())


def _file_flaw(root: Path, path: Path, store: ArtifactStore) -> FileFlaw | None:
    cid = _named(root, path)
    if cid is None:
        owner = _named(root, path.with_suffix("")) if path.suffix == SIDECAR else None
        if owner is None or owner.codec != DAG_PB:
            return _flaw(Flaw.STRANGE, root, path, None, "a name that the store does not give")
        if path.with_suffix("").is_symlink() or path.with_suffix("").exists():
            return None
        return _flaw(Flaw.LONELY, root, path, owner, "its artifact is not here")
    try:
        for _ in store.chunks(cid):
            pass
    except MissingArtifactError:
        return None
    except IntegrityError as error:
        return _flaw(Flaw.DAMAGED, root, path, cid, str(error))
    return None


def _flaw(flaw: Flaw, root: Path, path: Path, cid: Cid | None, detail: str) -> FileFlaw:
    return FileFlaw(flaw, str(path.relative_to(root)), cid, detail)


def _named(root: Path, path: Path) -> Cid | None:
    """Return the artifact whose file has this path, None if the store gives no such path."""
    try:
        cid = Cid.parse(path.name)
    except FormatError:
        return None
    return cid if path.parent == folder_of(root, cid) else None


def _size(path: Path) -> int:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return 0
    return 0 if path.is_dir() else status.st_size
