"""What is told of the contracts of a federation before they are put on a chain, and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Creation:
    """A contract that is about to be put on a chain, at an address that is known before, by a key of the home.

    `keys` are the addresses to which it gives power, by what they may do; `note` is what else it fixes for ever.
    """

    contract: str
    address: bytes
    role: str
    deployer: bytes
    chain_id: int
    keys: tuple[tuple[str, bytes], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Founded:
    """A contract of the home's federation on its chain; `is_new`: this command put it there."""

    contract: str
    address: bytes
    is_new: bool


@dataclass(frozen=True, slots=True)
class Founding:
    """The federation's contracts on its chain."""

    chain_id: int
    federation: bytes
    contracts: tuple[Founded, ...]


Announce: TypeAlias = Callable[[Sequence[Creation]], None]
"""Tells what is about to be deployed; it raises where the user does not want it."""
