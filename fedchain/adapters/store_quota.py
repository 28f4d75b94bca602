"""The quota of an embedded store: `quota` in its folder holds the most bytes that its files may have, in decimal.

It lies in the store, so every process that writes there keeps it. Two that are writing something large at a time may
pass it by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from fedchain.adapters.files import explained, make_folder, replace_file, sync_folder
from fedchain.adapters.store_files import usage
from fedchain.core.cid import BytesLike
from fedchain.core.errors import FormatError, InputError

_WRITERS: Final = 8
"""As many may write at a time without passing the quota: each measures again after its share of the room."""


class Quota:
    """The quota of the store at `root`; what is in use is estimated between two measurements."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._used = 0
        self._trusted = 0

    def has_room(self, size: int) -> bool:
        """Tell whether an artifact of so many bytes fits, and reckon with it; without a quota all do."""
        limit = read_quota(self._root)
        if limit is None:
            return True
        self._trusted -= size
        if self._trusted < 0:
            self._used = usage(self._root)
            self._trusted = (limit - self._used) // _WRITERS - size
        self._used += size
        return self._used <= limit

    def require_room(self, size: int) -> None:
        """Refuse an artifact that does not fit.

        Raises:
            InputError: saying how to make room.
        """
        if not self.has_room(size):
            raise self._passed(self._used)

    def watched(self, parts: Iterable[BytesLike]) -> Iterator[BytesLike]:
        """Yield `parts` as they come.

        Raises:
            InputError: before a part that would pass the quota.
        """
        limit = read_quota(self._root)
        used = 0 if limit is None else usage(self._root)
        for part in parts:
            used += memoryview(part).nbytes
            if limit is not None and used > limit:
                raise self._passed(used)
            yield part

    def _passed(self, size: int) -> InputError:
        return InputError(
            "the store's quota is used up", expected=f"at most {read_quota(self._root)} bytes in {self._root}",
            got=size, remedy="`fedchain store gc` frees some, `fedchain store quota` sets it",
        )  # fmt: skip


def read_quota(root: Path) -> int | None:
    """Return the most bytes that the store may have; None is as many as the disk takes.

    Raises:
        FormatError: if the file holds no number.
    """
    try:
        text = (root / "quota").read_bytes()
    except FileNotFoundError:
        return None
    if not text.strip().isdigit():
        raise FormatError(f"{root / 'quota'}", expected="a number of bytes", got=repr(text[:40]))
    return int(text)


def write_quota(root: Path, limit: int | None) -> None:
    """Set the quota; None takes it away. What is in the store already stays."""
    with explained(root):
        make_folder(root)
        if limit is None:
            (root / "quota").unlink(missing_ok=True)
            sync_folder(root)
        else:
            replace_file(root / "quota", b"%d\n" % limit)
