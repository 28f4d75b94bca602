"""`fedchain rewards`: what each client has earned, and the few transactions that pay it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from fedchain.cli import audit
from fedchain.cli.arguments import Pins, Verbs, add_pins, add_shared, add_verb, home_of, pins_of
from fedchain.cli.exits import Exit, exit_of_verdict, worst
from fedchain.cli.screen import Screen
from fedchain.cli.text import hex_id, short, time_text
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.lineage import ClaimLevel, Verdict
from fedchain.core.rewards import RoundRewards
from fedchain.ports.rewards import AssetKind
from fedchain.workflow.payments import Allow, Announce, Claim, Dispute, Done, Finalize, Fund, Order, Propose
from fedchain.workflow.summary import RewardOverview

TEXT = """\
Shows what every client has earned with its updates, can claim now, and was paid. The whole record is verified first,
exactly as by `fedchain verify`; then every score is recomputed: how many pairs of donated rows the model of a round
ranks right, less how many without the update. All who verify can read donated rows; no hospital trains on its own.

A payment takes three steps, each of which can be repeated at any time and does only what is missing:

  fedchain rewards fund         first, where rewards are coins or tokens: put what is missing into the vault
  fedchain rewards propose      put up a root (one hash over all that was earned)
  fedchain rewards finalize     after the dispute window: from now on the root pays
  fedchain rewards claim        have everyone paid; anyone may do this for anyone

exit codes: as of `fedchain verify`; 1 also if the vault does not pay what the record gives
"""
ACTS: Final = {
    "fund": "put coins or tokens into the vault",
    "propose": "put up the root of all that was earned",
    "finalize": "make the pending root the one that pays, after its dispute window",
    "claim": "have one client, or all, paid what the final root gives",
    "dispute": "cancel a pending root that is not what the record gives",
}
DETAILS: Final = {
    "fund": "Puts coins or tokens into the vault, with the operator's key, until AMOUNT was put in altogether:\n"
    "repeating it puts in no more. Without AMOUNT that is all that was earned. Of tokens, the vault is first\n"
    "allowed to take as much as is missing. The first time, the vault itself is put on the ledger.",
    "propose": "Recomputes all that was earned, stores the report, and puts its root up in the vault, as the\n"
    "distributor. The first time, the vault itself is put on the ledger.",
    "finalize": "Recomputes the pending root and, after its dispute window, makes it the one that pays. Anyone may.",
    "claim": "Recomputes the final root and has clients paid what it gives them and they have not had. Anyone may,\n"
    "for anyone: the payment always goes to the client.",
    "dispute": "Recomputes the pending root and cancels it if it is not what the record gives, as the guardian.",
}
LEVELS: Final = {
    "earned": ClaimLevel.REDERIVED,
    "claimable": ClaimLevel.ANCHORED,
    "claimed": ClaimLevel.ANCHORED,
    "donated rows": ClaimLevel.SELF_REPORTED,
}
"""How strongly each item holds once the record does. That donated rows are real patients is their donor's word."""
ASSETS: Final = {
    "credits": "credits, which the vault counts and nobody can transfer",
    "native": "smallest units of the ledger's coin",
    "erc20": "smallest units of a token",
    "": "nothing",
}
_KINDS: Final = {AssetKind.CREDITS: "credits", AssetKind.NATIVE: "native", AssetKind.ERC20: "erc20"}


class Overview(Protocol):
    """The rewards of a home as `fedchain.wiring` re-derives them."""

    def __call__(self, home: Path, /, *, heads: tuple[str, ...], trust: Path | None) -> RewardOverview:
        """Verify the record and return what it gives, beside what the vault says."""
        ...


Act: TypeAlias = Callable[[Path, Announce], Sequence[Done]]


@dataclass(frozen=True, slots=True)
class RewardOptions:
    """What the user asked for."""

    home: Path
    pins: Pins


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "rewards", _handle, summary="show what was earned, and have it paid", text=TEXT)
    add_pins(parser)
    below = parser.add_subparsers(metavar="", title="also")
    for name, summary in ACTS.items():
        act = below.add_parser(
            name,
            help=summary,
            description=DETAILS[name],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        act.set_defaults(handler=_handler_of(name))
        add_shared(act, nested=True)
        if name == "fund":
            act.add_argument(
                "amount",
                metavar="AMOUNT",
                nargs="?",
                help="smallest units, all together (default: all that was earned)",
            )
        if name == "claim":
            act.add_argument("--account", metavar="CLIENT", help="a client by name or address (default: all)")


def show(options: RewardOptions, screen: Screen, overview: Overview) -> Exit:
    """Verify, recompute, and tell every client's balance."""
    pins = options.pins
    found = overview(options.home, heads=pins.heads, trust=pins.trust)
    code = worst([exit_of_verdict(found.lineage.verdict), Exit.FINDINGS if found.faults else Exit.DONE])
    if screen.as_json:
        screen.document({**audit.document(found.lineage), **_document(found), "exit": int(code)})
        return code
    _show(screen, found)
    audit.show_findings(screen, found.lineage)
    for fault in found.faults:
        screen.line(f"The vault does not pay what the record gives: {fault}")
    audit.show_verdict(screen, found.lineage, options.home, pins)
    return code


def act(home: Path, screen: Screen, do: Act) -> Exit:
    """Do what is missing; each transaction is told in words before it is sent."""
    done = do(home, lambda order: screen.note(f"about to send: {words(order)}"))
    if screen.as_json:
        screen.document({"sent": [_sent(each) for each in done], "exit": int(Exit.DONE)})
    elif not done:
        screen.line(
            "Nothing to do: it is done already, or there is nothing to pay. `fedchain rewards` has the balances."
        )
    for each in done:
        if not screen.as_json:
            how = f"transaction {hex32(each.transaction)}" if each.transaction else "done by somebody else meanwhile"
            screen.line(f"Done: {words(each.order)} ({how})")
    return Exit.DONE


def words(order: Order) -> str:
    """Return what a transaction does, in plain words."""
    unit = ASSETS[_KINDS[order.vault.terms.asset_kind]]
    match order:
        case Allow(amount=0):
            return f"take back what {hex32(order.vault.contract)} was allowed to take of the operator's tokens"
        case Allow():
            token = hex32(order.vault.terms.asset)
            return f"allow the vault {hex32(order.vault.contract)} to take {order.amount} ({unit} {token})"
        case Fund():
            return (
                f"put {order.amount} ({unit}) into the vault {hex32(order.vault.contract)}, which makes {order.total} "
                "altogether; they leave it only to those who earned them"
            )
        case Propose():
            report, window = order.report, order.vault.terms.dispute_window_s
            return (
                f"put up the root {hex32(order.root)}: {report.total} in all ({unit}) for {len(report.balances)} "
                f"clients and {len(report.rounds)} rounds; it can be disputed for {window} s and pays nothing before"
            )
        case Finalize():
            pending = order.proposal
            return f"make the root {hex32(pending.root)} pay: {pending.total} in all ({unit})"
        case Dispute():
            return f"cancel the pending root {hex32(order.proposal.root)}, which is not what the record gives"
        case Claim():
            return f"pay {order.amount} ({unit}) to {hex32(order.account)}, which makes {order.cumulative} in all"


def _show(screen: Screen, found: RewardOverview) -> None:
    if found.lineage.verdict is Verdict.FINDINGS:
        screen.line("The record does not hold, so no reward is computed from it.")
        screen.line()
        return
    if not found.accounts:
        screen.line("No run of this home has earned anything: rewards are off unless a run declares them.")
        screen.line()
        return
    levels = "; ".join(f"{item}: {level.value}" for item, level in LEVELS.items())
    header = ["client", "account", "earned", "claimable", "claimed"]
    rows = [
        [each.client, short(each.account), str(each.earned), str(each.claimable), str(each.claimed)]
        for each in found.accounts
    ]
    screen.table(f"Rewards by client ({levels})", header, rows)
    screen.line(f"Unit: {ASSETS[found.asset]}.")
    screen.line(f"Vault: {hex_id(found.vault) if found.vault else 'none yet: `fedchain rewards propose` makes it'}")
    screen.line(_progress(found))
    for each in found.settled:
        screen.line(f"NOT RECOMPUTED: {each}.")
    screen.line()


def _progress(found: RewardOverview) -> str:
    paid = f"{found.final_rounds} of {len(found.history.rounds)} rounds are under the root that pays"
    if found.pending is None:
        return f"{paid}; no root is pending."
    until = time_text(found.pending.claimable_at)
    return f"{paid}; a root over {found.pending.rounds} rounds is pending, and can be disputed until {until}."


def _document(found: RewardOverview) -> dict[str, object]:
    pending = found.pending
    return {
        "levels": {item: level.value for item, level in LEVELS.items()},
        "asset": found.asset,
        "vault": found.vault or None,
        "rewards": {
            each.client: {
                "account": each.account,
                "earned": each.earned,
                "claimable": each.claimable,
                "claimed": each.claimed,
            }
            for each in found.accounts
        },
        "report": found.history.report().cid().text if found.accounts else None,
        "final_rounds": found.final_rounds,
        "pending": None
        if pending is None
        else {
            "root": pending.root,
            "total": pending.total,
            "rounds": pending.rounds,
            "claimable_at": pending.claimable_at,
        },
        "scores": [_round(each, found) for each in found.history.rounds],
        "faults": list(found.faults),
        "not_recomputed": list(found.settled),
    }


def _round(each: RoundRewards, found: RewardOverview) -> dict[str, object]:
    return {
        "run": hex32(each.run),
        "round": each.round,
        "pool": each.pool,
        "value": each.value,
        "shares": {
            found.names.get(share.client, hex32(share.client)): {
                "score": share.score,
                "pay": share.pay,
                "cumulative": share.cumulative,
            }
            for share in each.shares
        },
    }


def _sent(each: Done) -> dict[str, object]:
    return {
        "act": type(each.order).__name__.lower(),
        "words": words(each.order),
        "transaction": hex32(each.transaction) if each.transaction else None,
    }


def _amount(text: str | None) -> int | None:
    if text is None:
        return None
    if not re.fullmatch("[1-9][0-9]{0,38}", text) or int(text) >= 2**128:
        raise InputError("AMOUNT", expected="a whole number of smallest units below 2^128", got=repr(text)[:60])
    return int(text)


def _overview(home: Path, *, heads: tuple[str, ...], trust: Path | None) -> RewardOverview:
    from fedchain.wiring.rewards import overview  # noqa: PLC0415 - brings the chain and the accountant

    return overview(home, heads=heads, trust=trust)


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    return show(RewardOptions(home_of(options), pins_of(options)), screen, _overview)


def _handler_of(name: str) -> Callable[[argparse.Namespace, Screen], Exit]:
    def handle(options: argparse.Namespace, screen: Screen) -> Exit:
        amount = _amount(getattr(options, "amount", None))
        from fedchain.wiring import rewards  # noqa: PLC0415 - brings the chain and the accountant

        acts: dict[str, Act] = {
            "fund": lambda home, announce: rewards.fund(home, announce, amount),
            "propose": rewards.propose,
            "finalize": rewards.finalize,
            "dispute": rewards.dispute,
            "claim": lambda home, announce: rewards.claim(home, announce, options.account),
        }
        return act(home_of(options), screen, acts[name])

    return handle
