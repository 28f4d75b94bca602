"""`fedchain erase`: destroys the keys of updates, so that nobody can read them again."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Verbs, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.runs import full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.cli.text import hex_id
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.lineage import ClaimLevel
from fedchain.workflow.erasing import Erased, EraseRequest

UNDONE: Final = (
    "what the model has learned: every model since then still comes from these updates",
    "the sums: two models tell what all erased updates of a round add up to",
    "copies: whoever read an update before, or copied a key ring or a home, still has it; backups must be erased too",
    "what a file system or a disk keeps of overwritten bytes, until it reuses them",
)
TEXT = """\
Destroys the data keys of the updates of a round, at every reader whose key ring lies in this home, and with them the
salts of their commitments; then removes the ciphertexts from the store. Each reader signs a deletion receipt. An
interrupted erasure is finished by the next one. Scores of erased rounds cannot be recomputed: an erased
round pays what the vault's final root says, and nothing if none covers it, so have rewards made final before.

Whole rounds are erased, or of a round at least as many clients as it needs (--client, several times). Fewer would hide
nothing: aggregation is exact, so one erased update is the difference of two models less all the other updates.

After it `fedchain verify` says of these updates "anchored", and ends with exit code 3. Erasing does not undo

""" + "\n".join(f"  - {each}" for each in UNDONE)
Erase: TypeAlias = Callable[[Path, EraseRequest], Erased]
_MAX_REASON: Final = 255


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "erase", _handle, summary="destroy the keys of a round's updates", text=TEXT)
    parser.add_argument("run", metavar="RUN", help="a run: its id, or the beginning of it if that fits only one")
    parser.add_argument(
        "--round", metavar="N", action="append", required=True, help="a round; may be given several times"
    )
    parser.add_argument(
        "--client", metavar="NAME", action="append", default=[],
        help="only this client's update; several if given again (default: the whole round)",
    )  # fmt: skip
    parser.add_argument("--reason", metavar="N", default="0", help="a code of your own from 0 to 255 (default: 0)")
    parser.add_argument("--yes", action="store_true", help="do not ask on a terminal")


def show(screen: Screen, home: Path, request: EraseRequest, erase: Erase) -> Exit:
    """Erase and tell what was destroyed, who signed it, and what it does not undo."""
    done = erase(home, request)
    if screen.as_json:
        screen.document(_document(done))
        return Exit.DONE
    for order in done.orders:
        screen.line(f"Round {order.round} of run {hex_id(order.run.hex())}: {len(order.payloads)} updates erased")
        for each in order.payloads:
            screen.line(f"    {each.cid} of client {hex32(each.client)}")
    screen.line(f"{len(done.receipts)} deletion receipts are signed and kept under {home / 'erasures'}.")
    screen.line()
    screen.line("What this does not undo")
    for line in UNDONE:
        screen.line(f"  - {line}")
    return Exit.DONE


def _document(done: Erased) -> dict[str, object]:
    return {
        "erased": [
            {"run": hex32(order.run), "round": order.round, "client": hex32(each.client), "payload_cid": each.cid}
            for order in done.orders
            for each in order.payloads
        ],
        "receipts": [
            {
                "payload": hex32(each.receipt.payload_cid),
                "reader": hex32(each.receipt.reader),
                "signer": hex32(each.signer),
                "signature": hex32(each.signature),
                "level": ClaimLevel.SIGNED.value,
            }
            for each in done.receipts
        ],
        "not_undone": list(UNDONE),
        "exit": int(Exit.DONE),
    }


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.erasure import erase  # noqa: PLC0415 - brings the ledger

    home = home_of(options)
    run = full_run_id(options.run, lambda: recorded_runs(home))
    rounds = tuple(_number("--round", each, 10**6) for each in options.round)
    request = EraseRequest(run, rounds, tuple(options.client), _number("--reason", options.reason, _MAX_REASON))
    if not (options.yes or screen.as_json) and sys.stdin.isatty() and screen.err.isatty():
        _ask(screen, request)
    return show(screen, home, request, erase)


def _ask(screen: Screen, request: EraseRequest) -> None:
    whose = ", ".join(request.clients) or "all clients"
    rounds = ", ".join(str(each) for each in request.rounds)
    screen.err.write(f"Destroy the keys of the updates of {whose} in round {rounds} for ever? [y/N] ")
    screen.err.flush()
    answer = sys.stdin.readline().strip()
    if answer.lower() not in ("y", "yes"):
        raise InputError("nothing was erased", expected="y", got=repr(answer)[:20])


def _number(what: str, text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,7}", text) or int(text) > most:
        raise InputError(what, expected=f"a number up to {most}", got=repr(text)[:80])
    return int(text)
