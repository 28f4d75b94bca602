"""Votes of a home that wait for others: one file a version and question, `ballots/<version>/<question>.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.files import explained, make_folder, replace_file
from fedchain.adapters.home import Home, plain_name
from fedchain.core import document
from fedchain.core.releases import Vote


@dataclass(frozen=True, slots=True)
class Ballot:
    """The signed votes of one question."""

    votes: tuple[Vote, ...]


@dataclass(frozen=True, slots=True)
class BallotBox:
    """Where the votes about one question of one version are kept until they are enough."""

    home: Home
    version: bytes
    question: str

    def votes(self) -> tuple[Vote, ...]:
        """Return the votes that were kept."""
        path = self._path()
        with explained(path):
            return document.from_bytes(Ballot, path.read_bytes()).votes if path.exists() else ()

    def keep(self, votes: Sequence[Vote]) -> None:
        """Keep these votes instead of those before; no votes change nothing."""
        if votes:
            make_folder(self._path().parent)
            replace_file(self._path(), document.to_bytes(Ballot(tuple(votes))))

    def _path(self) -> Path:
        return self.home.root / "ballots" / self.version.hex() / f"{plain_name(self.question)}.json"


def boxes_of(home: Home) -> tuple[BallotBox, ...]:
    """Return every box of a home, votes of every version and question."""
    paths = sorted((home.root / "ballots").glob("*/*.json"))
    return tuple(BallotBox(home, bytes.fromhex(path.parent.name), path.stem) for path in paths)
