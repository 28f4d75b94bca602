"""Artifacts of a home to and from CAR files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedchain.adapters.files import explained, new_file
from fedchain.adapters.home import locked, open_home
from fedchain.core.cid import Cid
from fedchain.wiring.record import audit
from fedchain.wiring.stores import open_store
from fedchain.workflow.car_files import read_car, write_car


def export(home: Path, roots: Sequence[Cid], file: Path) -> int:
    """Write artifacts to a file that does not exist yet; return its size in bytes.

    Raises:
        InputError: if there is no home, an artifact is missing, or the file is there or cannot be written.
        IntegrityError: if an artifact is damaged.
    """
    store = open_store(open_home(home))
    with new_file(file) as out:
        write_car(store, roots, out.write)
        return out.tell()


def artifacts_of(home: Path, run: str) -> tuple[Cid, ...]:
    """Return what the record of a run names, in the order of their names.

    Raises:
        InputError: if there is no such run.
    """
    found = audit(open_home(home), run=run, heads=(), trust=None, scrub=False)
    return tuple(Cid.parse(text) for text in sorted(found.named))


def import_file(home: Path, file: Path) -> tuple[Cid, ...]:
    """Put the artifacts of a file into the store and return their names.

    Raises:
        InputError: if there is no home, or the file is no CAR file of this store.
        IntegrityError: if a block is damaged.
    """
    opened = open_home(home)
    with explained(file), file.open("rb") as source, locked(opened):
        return read_car(source, open_store(opened))
