"""`fedchain keys`: what keys a home has, and how they are kept."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from fedchain.cli.arguments import Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.workflow.summary import KeyRow, KeyRows, TokenPlace

TEXT = """\
The secret keys of a home lie in files that are encrypted and for their owner only, under one master key that a
passphrase opens. A service has the passphrase from a systemd credential (fedchain-passphrase), from the file that
FEDCHAIN_PASSPHRASE_FILE names, or from FEDCHAIN_PASSPHRASE; on a terminal it is asked for.

A simulation draws a passphrase and keeps it beside the keys (keys/simulated.unlock), so that it needs nobody: whoever
has the whole folder has the keys. `fedchain keys rotate` puts a passphrase of your own in its place.
"""
SIMULATED: Final = "The passphrase lies beside the keys (keys/simulated.unlock): whoever has this folder has the keys."
SUMMARIES: Final = {
    "list": "show the keys of a home",
    "make": "make a key",
    "rotate": "put another passphrase before all keys",
    "exchange": "put another reading key in the place of one",
    "backup": "write an encrypted backup of all keys",
    "restore": "write back what is missing of a backup",
}
DETAILS: Final = {
    "list": "Shows each key by its role and name, with its address or reader's id. Opens none.",
    "make": "Makes a key of a role and name; one that is there stays. Roles that end with -reader read what is\n"
    "stored, the others sign. Keys that count for others are registered by `fedchain registry`.",
    "rotate": "Wraps the master key under the passphrase in a file, and encrypts key files that are still in plain.\n"
    "A signing key itself is exchanged by `fedchain registry rotate-device` or rotate-admin: others must learn of it.",
    "exchange": "Draws another reading key, wraps for it what the old one could open, and destroys the old one. After\n"
    "a crash the same command finishes. A copy of the old key still opens copies of what was stored before.",
    "backup": "Writes all key files to one file, encrypted under the passphrase in another. Key rings are not in it:\n"
    "a copy of one would outlive an erasure.",
    "restore": "Writes back the key files that are missing; refuses, before it writes anything, if one is there with\n"
    "another content.",
}


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "keys", _list, summary="show, make, back up and restore secret keys", text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    handlers = {
        "list": _list,
        "make": _make,
        "rotate": _rotate,
        "exchange": _exchange,
        "backup": _backup,
        "restore": _restore,
    }
    for name, summary in SUMMARIES.items():
        nested = below.add_parser(
            name, help=summary, description=DETAILS[name], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        nested.set_defaults(handler=handlers[name])
        add_shared(nested, nested=True)
        if name in ("make", "exchange"):
            nested.add_argument("role", metavar="ROLE", help="for example device, site-reader")
            nested.add_argument("name", metavar="NAME", help="for example the name of a site")
        if name == "make":
            nested.add_argument("--pkcs11", metavar="MODULE", help="make it in a token, through this PKCS#11 module")
            nested.add_argument("--token", metavar="LABEL", help="the token's label")
        if name in ("backup", "restore"):
            nested.add_argument("file", metavar="FILE", help="the backup")
        if name in ("rotate", "backup", "restore"):
            nested.add_argument(
                "--passphrase-file", metavar="FILE", required=True,
                help="a file of mode 0600 with the passphrase in its first line",
            )  # fmt: skip


def show(screen: Screen, found: KeyRows) -> Exit:
    """Tell the keys and how they are kept."""
    if screen.as_json:
        screen.document(
            {"keys": [_document(each) for each in found.rows], "simulated": found.is_simulated, "exit": int(Exit.DONE)}
        )
        return Exit.DONE
    rows = [[each.role, each.name, each.does, each.kept, _public(each) or "-"] for each in found.rows]
    screen.table("Keys of this home", ["role", "name", "what it does", "at rest", "address or reader"], rows)
    if found.is_simulated:
        screen.line(SIMULATED)
    return Exit.DONE


def _public(each: KeyRow) -> str | None:
    return None if each.public is None else hex32(each.public)


def _document(each: KeyRow) -> dict[str, object]:
    return {
        "role": each.role,
        "name": each.name,
        "does": each.does,
        "kept": each.kept,
        "public": _public(each),
    }


def _list(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keys import overview  # noqa: PLC0415 - brings the ciphers

    return show(screen, overview(home_of(options)))


def _make(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keys import make, make_in_token  # noqa: PLC0415 - brings the ciphers

    home, role, name = home_of(options), options.role, options.name
    if (options.pkcs11 is None) != (options.token is None):
        raise InputError("a key in a token", expected="--pkcs11 and --token", got="one of them")
    place = None if options.pkcs11 is None else TokenPlace(options.pkcs11, options.token)
    row = make(home, role, name) if place is None else make_in_token(home, role, name, place)
    if screen.as_json:
        screen.document({"key": _document(row), "exit": int(Exit.DONE)})
    else:
        screen.line(f"Key {row.role}/{row.name} {row.does}: {_public(row)}")
    return Exit.DONE


def _rotate(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keys import rotate  # noqa: PLC0415 - brings the ciphers

    return _counted(screen, "under the new passphrase", rotate(home_of(options), Path(options.passphrase_file)))


def _exchange(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.reader_exchange import exchange  # noqa: PLC0415 - brings the ciphers

    artifacts = exchange(home_of(options), options.role, options.name)
    if screen.as_json:
        screen.document({"artifacts": artifacts, "exit": int(Exit.DONE)})
    else:
        screen.line(f"{options.role}/{options.name} is another key now; it opens {artifacts} artifacts.")
    return Exit.DONE


def _backup(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keys import backup  # noqa: PLC0415 - brings the ciphers

    files = backup(home_of(options), Path(options.file), Path(options.passphrase_file))
    return _counted(screen, "in the backup", files)


def _restore(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keys import restore  # noqa: PLC0415 - brings the ciphers

    files = restore(home_of(options), Path(options.file), Path(options.passphrase_file))
    return _counted(screen, "written back", files)


def _counted(screen: Screen, what: str, files: int) -> Exit:
    if screen.as_json:
        screen.document({"files": files, "exit": int(Exit.DONE)})
    else:
        screen.line(f"{files} key files {what}.")
    return Exit.DONE
