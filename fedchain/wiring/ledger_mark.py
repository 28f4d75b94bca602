"""`ledger.json`: which ledger a home has, from its first seal on, and of which kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity

_FORMAT: Final = "fedchain/ledger/1"
Kind: TypeAlias = Literal["embedded", "log", "rpc"]


@dataclass(frozen=True, slots=True)
class LedgerMark:
    """What the home remembers of its ledger."""

    format: str
    kind: Kind
    identity: LedgerIdentity


def mark_of(home: Home) -> LedgerMark | None:
    """Return what the home remembers of its ledger, None before there is one.

    Raises:
        InputError: if the file cannot be read, or is of another version.
    """
    with explained(home.ledger):
        if not home.ledger.exists():
            return None
        mark = document.from_bytes(LedgerMark, home.ledger.read_bytes())
    if mark.format != _FORMAT:
        raise InputError(f"{home.ledger} is of another version", expected=_FORMAT, got=mark.format[:40])
    return mark


def required_mark(home: Home) -> LedgerMark:
    """Return what the home remembers of its ledger.

    Raises:
        InputError: if there is none.
    """
    mark = mark_of(home)
    if mark is None:
        raise InputError(
            "this home has no ledger yet", expected=home.ledger, got="no such file", remedy="run an experiment"
        )
    return mark


def note_ledger(home: Home, kind: Kind, identity: LedgerIdentity) -> None:
    """Remember the home's ledger."""
    mark = document.to_bytes(LedgerMark(_FORMAT, kind, identity))
    if not home.ledger.exists() or home.ledger.read_bytes() != mark:
        replace_file(home.ledger, mark)


def check_kind(home: Home, kind: Kind) -> None:
    """Check that the home's ledger, if there is one, is of this kind.

    Raises:
        InputError: if it is of another.
    """
    mark = mark_of(home)
    if mark is not None and mark.kind != kind:
        raise InputError(
            "this home has a ledger of another kind",
            expected=f"ledger={mark.kind}",
            got=f"ledger={kind}",
            remedy=f"add ledger={mark.kind}, or choose another home with --home",
        )
