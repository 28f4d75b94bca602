"""What a site signs for its registry entry: told in plain words, asked for on a terminal, reported when done."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO, TypeAlias

from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.cli.text import delta_text, epsilon_text, time_text
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegisterDevice, RevokeDevice, RotateAdmin
from fedchain.workflow.registry_entries import Announce, Done, Order, Request

Do: TypeAlias = Callable[[Path, Request], Sequence[Done]]


def act(home: Path, screen: Screen, request: Request, do: Do) -> Exit:
    """Do what is missing; everything is told in words before it is signed."""
    done = do(home, request)
    if screen.as_json:
        screen.document({"sent": [_sent(each) for each in done], "exit": int(Exit.DONE)})
        return Exit.DONE
    if not done:
        screen.line("Nothing was left to send: what was interrupted before is finished now.")
    for each in done:
        screen.line(f"Done: {words(each.order)} (transaction {hex32(each.transaction)})")
    return Exit.DONE


def announcer(screen: Screen, answers: TextIO | None) -> Announce:
    """Return what tells each order; with `answers` it asks once for all of them.

    The returned function raises InputError where the answer is not yes.
    """

    def announce(orders: Sequence[Order]) -> None:
        for each in orders:
            screen.note(f"about to sign with {each.site}'s admin key {hex32(each.key)}, {_sender(each)}: {words(each)}")
        confirm(screen, answers)

    return announce


def terminal(screen: Screen, *, is_sure: bool) -> TextIO | None:
    """Return where answers come from, None where nobody is to be asked: no terminal, `--json` or `--yes`."""
    asks = not (is_sure or screen.as_json) and sys.stdin.isatty() and screen.err.isatty()
    return sys.stdin if asks else None


def confirm(screen: Screen, answers: TextIO | None) -> None:
    """Ask whether what was told shall be signed and sent, where there is somebody to ask.

    Raises:
        InputError: if the answer is not yes.
    """
    if answers is None:
        return
    screen.err.write("Sign and send? [y/N] ")
    screen.err.flush()
    answer = answers.readline().strip()
    if answer.lower() not in ("y", "yes"):
        raise InputError("nothing was signed", expected="y", got=repr(answer)[:20], remedy="repeat it to go on")


def words(order: Order) -> str:
    """Return what a message changes, in plain words."""
    site, message = order.site, order.message
    match message:
        case ConsentWithdraw():
            return (
                f"withdraw consent for {site}'s dataset {hex32(message.dataset)} (reason {message.reason}): from this "
                f"second on no round may include {site}'s dataset; what is sealed stays sealed"
            )
        case ConsentGrant():
            epsilon, delta = epsilon_text(message.micro_epsilon_grant), delta_text(message.delta_e12)
            return (
                f"consent to training on {site}'s dataset {hex32(message.dataset)} from {time_text(message.from_)} "
                f"until {time_text(message.until)}, up to epsilon {epsilon} at delta {delta}; this replaces the "
                "consent before it, withdrawn or not"
            )
        case RevokeDevice():
            return (
                f"revoke {site}'s device key {hex32(message.device)}: from this second on no round counts what it "
                "signs, for ever; what is sealed stays sealed"
            )
        case RegisterDevice():
            return (
                f"register {site}'s fresh device key {hex32(message.device)}: until {time_text(message.valid_until)} "
                f"updates that it signs are {site}'s"
            )
        case RotateAdmin():
            return (
                f"hand {site}'s entry to the fresh admin key {hex32(message.admin)}: from this second on only that "
                f"key decides about {site}'s devices, datasets and consents"
            )


def _sender(order: Order) -> str:
    return "sent by that key itself" if order.is_direct else "relayed by the simulated operator"


def _sent(each: Done) -> dict[str, object]:
    return {
        "act": type(each.order.message).__name__,
        "site": each.order.site,
        "key": hex32(each.order.key),
        "direct": each.order.is_direct,
        "words": words(each.order),
        "transaction": hex32(each.transaction),
    }
