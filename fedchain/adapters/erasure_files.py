"""The journal of erasures as files: an order, its mark when it was carried out, and one file a receipt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fedchain.adapters.files import create_file, explained, make_folder
from fedchain.core import document
from fedchain.core.digest import tagged
from fedchain.core.erasure import ErasureOrder, SignedDeletion
from fedchain.core.errors import FormatError, IntegrityError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ErasureFiles:
    """An ErasureJournal in a folder, which the first order makes."""

    root: Path

    def begin(self, order: ErasureOrder) -> None:
        """See ErasureJournal."""
        self._create(self._order(order, ".order"), document.to_bytes(order))

    def unfinished(self) -> Sequence[ErasureOrder]:
        """See ErasureJournal."""
        orders = self._all(ErasureOrder, "*.order")
        return [each for each in orders if not self._order(each, ".done").exists()]

    def keep(self, deletion: SignedDeletion) -> None:
        """See ErasureJournal."""
        receipt = deletion.receipt
        name = f"{receipt.payload_cid.hex()}-{receipt.reader.hex()}.receipt"
        self._create(self.root / receipt.run.hex() / name, document.to_bytes(deletion))

    def receipts(self) -> Sequence[SignedDeletion]:
        """See ErasureJournal."""
        return self._all(SignedDeletion, "*.receipt")

    def finish(self, order: ErasureOrder) -> None:
        """See ErasureJournal."""
        self._create(self._order(order, ".done"), b"")

    def _order(self, order: ErasureOrder, suffix: str) -> Path:
        name = tagged("erasure-order", document.to_bytes(order)).hex()[:32]
        return self.root / order.run.hex() / f"{order.round}-{name}{suffix}"

    def _create(self, path: Path, data: bytes) -> None:
        make_folder(path.parent)
        create_file(path, data)

    def _all(self, kind: type[T], pattern: str) -> list[T]:
        with explained(self.root):
            paths = sorted(self.root.glob(f"*/{pattern}")) if self.root.is_dir() else []
            return [_read(kind, path) for path in paths if not path.name.startswith(".")]


def _read(kind: type[T], path: Path) -> T:
    try:
        return document.from_bytes(kind, path.read_bytes())
    except FormatError as error:
        raise IntegrityError(f"{path} is damaged", got=error, remedy="restore it from a copy") from error
