"""`fedchain challenge`: demands on the aggregator that the ledger enforces, and proofs against who broke a rule."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fedchain.cli.arguments import Handler, Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.model import act_document, teller
from fedchain.cli.runs import full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.cli.text import epsilon_number, epsilon_text, short, time_text
from fedchain.core.digest import hex32
from fedchain.ports.challenges import Exposure, Freeze, Omission
from fedchain.workflow.signing import Acted

TEXT = """\
Holds people to what they signed, without a judge: contracts on the ledger check each proof. Without a verb of its own
it shows what was challenged, exposed and frozen.

  fedchain challenge overspend                    freeze every dataset whose update passed its site's grant
  fedchain challenge equivocation A B             expose who signed two hashes of one round, by two trust files
  fedchain challenge omission --site S --run R --round N
                                                  demand that the aggregator shows the update that it promised to seal
  fedchain challenge answer                       as the aggregator, show what became of every promise challenged
  fedchain challenge conclude                     state which promises nobody answered in time

Who kept the rules cannot be harmed: an answer needs no more than the record. The first use puts the two contracts on
the ledger. They need a chain: ledger=embedded or rpc.
"""
ACTS: Final = {
    "overspend": "freeze datasets whose update passed the grant",
    "equivocation": "expose who signed two hashes of one round",
    "omission": "demand to see a promised update",
    "answer": "answer every open challenge from the record",
    "conclude": "state what nobody answered in time",
    "status": "show challenges, exposures and freezes",
}
DETAILS: Final = {
    "overspend": "Looks for sealed updates whose signed total is above the lifetime grant under which they were made,\n"
    "and freezes their datasets on the ledger. Only a newer consent of its own site thaws one. A sandbox grant bounds\n"
    "each run alone and is never held against a dataset.",
    "equivocation": "Takes two trust files of this ledger and shows the ledger every key that signed different hashes\n"
    "of the same round in them. Signatures that are not a key's own do not count.",
    "omission": "Takes the promise that a site holds for a round, whose time is over, to the ledger. The aggregator\n"
    "has ten days to answer.",
    "answer": "Shows, for each promise that was challenged, its update in the sealed round, or its rejection with\n"
    "the reply as it came. Exit code 1 if the record knows nothing of one, or its time is over.",
    "conclude": "States, for each challenge whose ten days are over, that nobody answered it: the promise is broken.",
    "status": "Shows what was challenged, exposed and frozen so far.",
}


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "challenge", _handle_status, summary="hold people to what they signed", text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    handlers: dict[str, Handler] = {
        "overspend": _handle_overspend,
        "equivocation": _handle_equivocation,
        "omission": _handle_omission,
        "answer": _handle_answer,
        "conclude": _handle_conclude,
        "status": _handle_status,
    }
    for name, summary in ACTS.items():
        act = below.add_parser(
            name,
            help=summary,
            description=DETAILS[name],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        act.set_defaults(handler=handlers[name])
        if name == "equivocation":
            act.add_argument("one", metavar="FILE", help="a trust file of this ledger")
            act.add_argument("other", metavar="OTHER", help="another one, from somebody else")
        if name == "omission":
            act.add_argument("--site", metavar="SITE", required=True, help="the site that holds the promise")
            act.add_argument("--run", metavar="RUN", required=True, help="a run's id, or the beginning of it")
            act.add_argument("--round", metavar="N", type=int, required=True, help="the round of the promise")
        add_shared(act, nested=True)


def told(screen: Screen, done: Sequence[Acted], missing: str, nothing: str) -> Exit:
    """Tell what was done; 1 where something is missing."""
    code = Exit.FINDINGS if missing else Exit.DONE
    if screen.as_json:
        screen.document({"done": [act_document(each) for each in done], "missing": missing or None, "exit": int(code)})
        return code
    for each in done:
        screen.line(f"Done: {each.signing.sentence} (transaction {hex32(each.transaction)})")
    if missing:
        screen.line(f"Not answered: {missing}")
    elif not done:
        screen.line(nothing)
    return code


def _handle_overspend(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    done = challenges.overspend(home_of(options), teller(screen))
    return told(screen, done, "", "Nothing to freeze: no sealed update is above a lifetime grant that is not frozen.")


def _handle_equivocation(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    done = challenges.equivocation(home_of(options), teller(screen), Path(options.one), Path(options.other))
    return told(screen, done, "", "Nothing to expose: no key signed two hashes of one round, or it is exposed already.")


def _handle_omission(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    home = home_of(options)
    run = bytes.fromhex(full_run_id(options.run, lambda: recorded_runs(home)).removeprefix("0x"))
    done = challenges.omission(home, teller(screen), options.site, run, options.round)
    return told(screen, done, "", "Nothing to do: this promise was challenged already.")


def _handle_answer(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    found = challenges.answer(home_of(options), teller(screen))
    return told(screen, found.done, found.missing, "Nothing to answer: no challenge is open.")


def _handle_conclude(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    done = challenges.conclude(home_of(options), teller(screen))
    return told(screen, done, "", "Nothing to conclude: no open challenge has passed its time.")


def _handle_status(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import challenges  # noqa: PLC0415 - brings the chain

    found = challenges.standing(home_of(options))
    if screen.as_json:
        document = {
            "omissions": [_omission(each) for each in found.omissions],
            "exposures": [_exposure(each) for each in found.exposures],
            "freezes": [_freeze(each) for each in found.freezes],
            "exit": int(Exit.DONE),
        }
        screen.document(document)
        return Exit.DONE
    for each in found.omissions:
        what = f"Promise     round {each.promise.round} of run {short(each.promise.run.hex())}: {each.state.words}"
        screen.line(f"{what}, to be answered by {time_text(each.answer_by)}")
    for shown in found.exposures:
        screen.line(f"Exposed     {hex32(shown.signer)} signed two hashes of round {shown.round}")
    for freeze in found.freezes:
        total, limit = epsilon_text(freeze.micro_epsilon_total), epsilon_text(freeze.limit)
        now = "frozen" if freeze.is_frozen else "thawed by a newer consent"
        screen.line(f"Dataset     {hex32(freeze.dataset)}: {now}; epsilon {total} above {limit}")
    if not (found.omissions or found.exposures or found.freezes):
        screen.line("Nothing was challenged.")
    return Exit.DONE


def _omission(each: Omission) -> dict[str, object]:
    return {
        "run": hex32(each.promise.run),
        "round": each.promise.round,
        "leaf": hex32(each.promise.leaf),
        "signer": hex32(each.signer),
        "state": each.state.words,
        "answer_by": each.answer_by,
    }


def _exposure(each: Exposure) -> dict[str, object]:
    hashes = [hex32(each.one_hash), hex32(each.other_hash)]
    return {"signer": hex32(each.signer), "run": hex32(each.run), "round": each.round, "hashes": hashes}


def _freeze(each: Freeze) -> dict[str, object]:
    return {
        "dataset": hex32(each.dataset),
        "run": hex32(each.run),
        "round": each.round,
        "epsilon_total": epsilon_number(each.micro_epsilon_total),
        "limit": epsilon_number(each.limit),
        "frozen": each.is_frozen,
    }
