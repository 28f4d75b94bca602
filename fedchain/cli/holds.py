"""`fedchain audit hold|release|list`: the evidence of a model that no policy may remove."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.cli.text import short, time_text
from fedchain.core.retention import HoldReason
from fedchain.workflow.keeping import HeldModel

TEXT: Final = """\
A hold keeps the evidence of a model: every artifact of its run up to the round that made it, whatever the home's
retention policy says. `fedchain audit list` shows what is held, `hold` holds, `release` ends a hold; both may be
repeated.
"""
DETAILS: Final = {
    "list": "Shows every hold, the released ones included, with each decision, its reason and its time.",
    "hold": "Keeps all that a model rests on until it is released. A reason is one of a few codes, never a text,\n"
    "so that no hold names a person.",
    "release": "Ends a hold. What the retention policy lets end may be removed by the next `fedchain store gc`.",
}
Decide: TypeAlias = Callable[[Path, str, HoldReason], HeldModel]


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    summary = "hold the evidence of a model, release it"
    parser = add_verb(verbs, "audit", _handle_list, summary=summary, text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    for name, handler in (("list", _handle_list), ("hold", _handle_hold), ("release", _handle_release)):
        nested = below.add_parser(
            name,
            help=DETAILS[name].partition(".")[0].lower(),
            description=DETAILS[name],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        nested.set_defaults(handler=handler)
        add_shared(nested, nested=True)
        if name != "list":
            nested.add_argument(
                "model", metavar="MODEL", help="a run (its newest model), or a CID or digest of a model"
            )
            nested.add_argument(
                "--reason", metavar="CODE", choices=[each.value for each in HoldReason], required=True,
                help=f"why: {', '.join(HoldReason)}",
            )  # fmt: skip


def show(holds: Sequence[HeldModel], screen: Screen) -> Exit:
    """Tell what is held."""
    if screen.as_json:
        screen.document({"holds": [_document(each) for each in holds]})
        return Exit.DONE
    rows = [
        [f"0x{each.model}", short(each.run), str(each.round), "held" if _is_held(each) else "released", _events(each)]
        for each in holds
    ]
    screen.table("Holds", ["model", "run", "round", "state", "decisions"], rows)
    return Exit.DONE


def _is_held(each: HeldModel) -> bool:
    return bool(each.events) and each.events[-1].is_held


def _events(each: HeldModel) -> str:
    return ", ".join(
        f"{'held' if event.is_held else 'released'} {time_text(event.at)} ({event.reason})" for event in each.events
    )


def _document(each: HeldModel) -> dict[str, object]:
    return {
        "model": "0x" + each.model,
        "run": "0x" + each.run,
        "round": each.round,
        "held": _is_held(each),
        "decisions": [{"held": event.is_held, "reason": event.reason.value, "at": event.at} for event in each.events],
    }


def _handle_list(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keeping import holds  # noqa: PLC0415 - brings the chain with it

    return show(holds(home_of(options)), screen)


def _handle_hold(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keeping import hold  # noqa: PLC0415 - brings the chain with it

    return _decide(options, screen, hold)


def _handle_release(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.keeping import release  # noqa: PLC0415 - brings the chain with it

    return _decide(options, screen, release)


def _decide(options: argparse.Namespace, screen: Screen, decide: Decide) -> Exit:
    return show([decide(home_of(options), options.model, HoldReason(options.reason))], screen)
