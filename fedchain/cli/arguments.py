"""The arguments that several verbs share, and what they are read into."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.core.errors import InputError

Handler: TypeAlias = Callable[[argparse.Namespace, Screen], Exit]
Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name
DEFAULT_HOME: Final = ".fedchain"
HOME_VARIABLE: Final = "FEDCHAIN_HOME"
_HASH: Final = re.compile(r"(0x)?[0-9a-fA-F]{64}")


@dataclass(frozen=True, slots=True)
class Pins:
    """What the user knows from elsewhere."""

    heads: tuple[str, ...]
    trust: Path | None


def add_verb(
    verbs: Verbs,
    name: str,
    handler: Handler,
    *,
    summary: str,
    text: str,
) -> argparse.ArgumentParser:
    """Add a verb with `--home` and `--json`; the help shows `text` as it is laid out."""
    parser = verbs.add_parser(
        name,
        help=summary,
        description=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    add_shared(parser)
    return parser


def add_shared(parser: argparse.ArgumentParser, *, nested: bool = False) -> None:
    """Add `--home` and `--json`; in a nested verb they keep what was said before it."""
    parser.add_argument(
        "--home",
        metavar="DIR",
        default=argparse.SUPPRESS if nested else None,
        help=f"the folder with all state: keys, store, ledger, runs (default: ${HOME_VARIABLE}, else {DEFAULT_HOME})",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        default=argparse.SUPPRESS if nested else False,
        help="print one JSON document to standard output; progress goes to standard error",
    )


def add_pins(parser: argparse.ArgumentParser) -> None:
    """Add `--head` and `--trust`."""
    parser.add_argument(
        "--head",
        metavar="HASH",
        action="append",
        default=[],
        help="a round hash that you have from elsewhere (64 hexadecimal digits); may be given several times",
    )
    parser.add_argument(
        "--trust", metavar="FILE", help="a trust file: heads with the hospitals' signatures, kept by a reviewer"
    )


def home_of(options: argparse.Namespace) -> Path:
    """Return the home that the user means."""
    return Path(options.home or os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)


def pins_of(options: argparse.Namespace) -> Pins:
    """Return the pins.

    Raises:
        InputError: if a head is no hash or the trust file is not there.
    """
    for head in options.head:
        if not _HASH.fullmatch(head):
            raise InputError("--head", expected="64 hexadecimal digits", got=repr(head)[:80])
    trust = None if options.trust is None else Path(options.trust)
    if trust is not None and not trust.is_file():
        raise InputError("--trust", expected="a trust file", got=trust, remedy="a run in simulation writes one")
    return Pins(tuple("0x" + head.removeprefix("0x").lower() for head in options.head), trust)
