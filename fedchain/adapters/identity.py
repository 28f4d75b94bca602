"""Which code ran, and on which libraries: two digests that every update carries.

`codeDigest` covers the source trees of `fedchain`, `clients` and `server` as installed, file by file, and after them
the experiment's own modules; the configuration has a digest of its own, so that a sweep needs no new approval of code.
`envDigest` covers requirements.lock, the exact pins. A wheel carries the lock inside the package, a checkout has it at
its root: same bytes, same digest. Both are the site's own word: they say what it claims to have run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import fedchain
from fedchain.adapters.files import explained
from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import InputError

INSTALLATION: Final = Path(fedchain.__file__).resolve().parents[1]
"""The folder that holds the packages: a checkout, or site-packages."""

PACKAGES: Final = ("clients", "fedchain", "server")
LOCK: Final = "requirements.lock"
NO_SOURCES: Final[Mapping[str, bytes]] = MappingProxyType({})
_CHECKOUT_MARK: Final = "pyproject.toml"


def code_digest(installation: Path = INSTALLATION, own: Mapping[str, bytes] = NO_SOURCES) -> Digest:
    """Return the digest over relative path and sha256 of every source file, sorted by path.

    `own` are the experiment's own source files, by path; they follow, under "own/".

    Raises:
        InputError: if a package is missing or unreadable.
    """
    lines: list[bytes] = []
    for package in PACKAGES:
        root = installation / package
        if not root.is_dir():
            raise InputError(f"package {package} is missing", expected=root, remedy="install fedchain again")
        for path in _sources(root):
            with explained(path), path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            lines.append(tagged("source", content, path.relative_to(installation).as_posix().encode()))
    return tagged("code", *lines, *_own_lines(own))


def strategy_digest(own: Mapping[str, bytes]) -> Digest:
    """Return the digest of the source files behind a strategy of one's own: of their lines in the code's digest."""
    return tagged("strategy-code", *_own_lines(own))


def env_digest(installation: Path = INSTALLATION) -> Digest:
    """Return the digest of the lock.

    Raises:
        InputError: if there is no lock.
    """
    path = lock_file(installation)
    with explained(path):
        return tagged("env", path.read_bytes())


def lock_file(installation: Path = INSTALLATION) -> Path:
    """Return the lock: inside the installed package, or at the root of a checkout.

    Raises:
        InputError: if there is none.
    """
    packaged, beside = installation / "fedchain" / LOCK, installation / LOCK
    if packaged.is_file():
        return packaged
    if (installation / _CHECKOUT_MARK).is_file() and beside.is_file():
        return beside
    raise InputError(
        f"{LOCK} is missing",
        expected=f"{packaged}, or {beside} of a checkout",
        remedy="install fedchain from its wheel, or write the lock with `make lock`",
    )


def _own_lines(own: Mapping[str, bytes]) -> list[Digest]:
    ordered = sorted(own.items(), key=lambda each: each[0].encode())
    return [tagged("source", hashlib.sha256(content).digest(), f"own/{name}".encode()) for name, content in ordered]


def _sources(root: Path) -> Iterator[Path]:
    """Every file but caches, hidden files and the lock, which has a digest of its own."""
    for path in sorted(root.rglob("*"), key=lambda each: each.as_posix().encode()):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc" and path != root / LOCK:
            yield path
