"""What a consortium's operator does with the contracts: put them on a chain, give and take roles, pause sealing."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Final, TextIO, TypeAlias

from fedchain.cli.arguments import Verbs, add_shared, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.orders import confirm, terminal
from fedchain.cli.screen import Screen
from fedchain.cli.text import time_text
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.ports.roles import Role
from fedchain.workflow.founding import Announce as AnnounceCreations
from fedchain.workflow.founding import Creation, Founding
from fedchain.workflow.roles import Announce, Done, Grant, Order, Pause, Revoke

DEPLOY: Final = """\
Puts the federation's contracts on the chain that the configuration names: the registry, the rounds, and where it pays
rewards (rewards=donated) their vault. What is there already is found; repeating an interrupted command finishes it.

  fedchain ledger deploy ledger=rpc ledger.chain_id=31337 'ledger.node.endpoints=[http://127.0.0.1:8545]'
"""
GRANT: Final = """\
Gives a role of the contracts to an address, with the operator's key. The administrator of the rounds is only offered
its role, and takes it by granting it to itself from its own home.
"""
REVOKE: Final = """\
Takes a role of the contracts away, with the operator's key. The aggregator's goes to that key itself, so that nobody
else can seal until another one is named.
"""
PAUSE: Final = """\
Has no round sealed for some time, seven days at most, with the operator's key as the guardian. It ends by itself; then
as much time has to pass before another pause. Withdrawals, revocations and claims go on meanwhile.
"""
MEANS: Final = {
    Role.OPERATOR: "may add organisations to the registry",
    Role.REGISTRY_ADMIN: "may give and take the roles of operator and registry-admin",
    Role.AGGREGATOR: "alone may seal rounds",
    Role.GUARDIAN: "alone may pause sealing, seven days at most",
    Role.ROUNDS_ADMIN: "alone may name aggregator, guardian and the next rounds-admin",
}
Do: TypeAlias = Callable[[Announce], Done | None]
Found: TypeAlias = Callable[[AnnounceCreations], Founding]


def add_parsers(below: Verbs) -> None:
    """Add the verbs below `fedchain ledger`."""
    deploy = _nested(below, "deploy", "put the federation's contracts on a chain", DEPLOY, _handle_deploy)
    deploy.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="key=value, as of `fedchain run`")
    for name, text in (("grant", GRANT), ("revoke", REVOKE)):
        summary = text.partition(".")[0].partition(",")[0].lower()
        changed = _nested(below, name, summary, text, _handler_of_roles(name))
        changed.add_argument("role", metavar="ROLE", choices=[each.value for each in Role], help=_roles_text())
        changed.add_argument(
            "address", metavar="ADDRESS", help="an address, or deployer, operator, aggregator: a key here"
        )
    paused = _nested(below, "pause", "have no round sealed for some time", PAUSE, _handle_pause)
    paused.add_argument("seconds", metavar="SECONDS", help="for how long, 1 to 604800")


def deploy(screen: Screen, answers: TextIO | None, found: Found) -> Exit:
    """Deploy what is missing, told before it is sent, and tell where everything lies."""

    def announce(creations: Sequence[Creation]) -> None:
        for each in creations:
            screen.note(f"about to sign with the {each.role}'s key {hex32(each.deployer)}: {creation_words(each)}")
        confirm(screen, answers)

    founding = found(announce)
    if screen.as_json:
        screen.document({
            "chain_id": founding.chain_id,
            "federation": hex32(founding.federation),
            "contracts": {
                each.contract: {"address": hex32(each.address), "deployed": each.is_new} for each in founding.contracts
            },
            "exit": int(Exit.DONE),
        })  # fmt: skip
        return Exit.DONE
    rows = [[each.contract, hex32(each.address), "now" if each.is_new else "before"] for each in founding.contracts]
    screen.table(f"Contracts on chain {founding.chain_id}", ["contract", "address", "deployed"], rows)
    screen.line(f"Federation: {hex32(founding.federation)}")
    return Exit.DONE


def change(screen: Screen, answers: TextIO | None, do: Do) -> Exit:
    """Change a role, or pause; it is told in words before it is signed."""

    def announce(order: Order) -> None:
        screen.note(f"about to sign with the operator's key {hex32(order.sender)} and to send it: {words(order)}")
        confirm(screen, answers)

    done = do(announce)
    if screen.as_json:
        screen.document({"sent": [] if done is None else [_sent(done)], "exit": int(Exit.DONE)})
    elif done is None:
        screen.line("Nothing to do: it is so already, or it is up to the one to whom it was offered.")
    else:
        screen.line(f"Done: {words(done.order)} (transaction {hex32(done.transaction)})")
    return Exit.DONE


def creation_words(each: Creation) -> str:
    """Return what deploying a contract does, in plain words."""
    keys = "; ".join(f"{hex32(address)} {power}" for power, address in each.keys)
    note = f"; {each.note}" if each.note else ""
    return f"put {each.contract} on chain {each.chain_id} at {hex32(each.address)}, where {keys}{note}"


def words(order: Order) -> str:
    """Return what a change of roles or a pause does, in plain words."""
    match order:
        case Grant(role=Role.ROUNDS_ADMIN, accepts=False):
            return (
                f"offer {hex32(order.address)} the role {order.role}: once it takes it, it {MEANS[order.role]}, and "
                f"{'nobody' if order.before is None else hex32(order.before)} no longer"
            )
        case Grant():
            lost = "" if order.before is None else f"; {hex32(order.before)} no longer"
            return f"give {hex32(order.address)} the role {order.role}: from then on it {MEANS[order.role]}{lost}"
        case Revoke(role=Role.AGGREGATOR):
            return (
                f"take the role {order.role} from {hex32(order.address)} and give it to {hex32(order.sender)}: whoever "
                "has the old key alone can seal nothing from then on"
            )
        case Revoke():
            return f"take the role {order.role} from {hex32(order.address)}, so that it no longer {MEANS[order.role]}"
        case Pause():
            until, again = time_text(order.until), time_text(order.again_from)
            return f"have no round sealed until {until}, which cannot be taken back; another pause not before {again}"


def _nested(
    below: Verbs, name: str, summary: str, text: str, handler: Callable[[argparse.Namespace, Screen], Exit]
) -> argparse.ArgumentParser:
    parser = below.add_parser(
        name,
        help=summary,
        description=text,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(handler=handler)
    add_shared(parser, nested=True)
    parser.add_argument("--yes", action="store_true", help="do not ask on a terminal")
    return parser


def _roles_text() -> str:
    return "; ".join(f"{role.value}: {means}" for role, means in MEANS.items())


def _sent(done: Done) -> dict[str, object]:
    order = done.order
    about: dict[str, object] = {"until": order.until} if isinstance(order, Pause) else {
        "role": order.role.value, "address": hex32(order.address),
    }  # fmt: skip
    return {
        "act": type(order).__name__.lower(),
        **about,
        "key": hex32(order.sender),
        "words": words(order),
        "transaction": hex32(done.transaction),
    }


def _handle_deploy(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.cli.compose import compose  # noqa: PLC0415 - Hydra and pydantic take half a second

    config = compose(options.overrides)
    from fedchain.wiring.founding import found  # noqa: PLC0415 - brings the chain

    home = home_of(options)
    return deploy(screen, terminal(screen, is_sure=options.yes), lambda announce: found(home, config, announce))


def _handler_of_roles(name: str) -> Callable[[argparse.Namespace, Screen], Exit]:
    def handle(options: argparse.Namespace, screen: Screen) -> Exit:
        from fedchain.wiring import roles  # noqa: PLC0415 - brings the chain

        act = {"grant": roles.grant, "revoke": roles.revoke}[name]
        home, role, address = home_of(options), Role(options.role), options.address
        return change(
            screen, terminal(screen, is_sure=options.yes), lambda announce: act(home, role, address, announce)
        )

    return handle


def _handle_pause(options: argparse.Namespace, screen: Screen) -> Exit:
    if not options.seconds.isdecimal():
        raise InputError("SECONDS", expected="a whole number", got=repr(options.seconds)[:40])
    from fedchain.wiring.roles import pause  # noqa: PLC0415 - brings the chain

    home, seconds = home_of(options), int(options.seconds[:12])
    return change(screen, terminal(screen, is_sure=options.yes), lambda announce: pause(home, seconds, announce))
