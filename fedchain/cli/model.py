"""`fedchain model`: versions of models, the approvals of reviewers, and what a withdrawn dataset taints."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli.arguments import Handler, Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.export import add_export
from fedchain.cli.screen import Screen
from fedchain.cli.text import hex_id, short, time_text
from fedchain.core.digest import hex32
from fedchain.core.lineage import Taint
from fedchain.workflow.signing import Acted, Announce, Tally
from fedchain.workflow.summary import ModelSummary

TEXT = """\
Says which versions of models may be used. A version is a model of this record, submitted by one organisation and
approved by reviewers of others: in a simulation a clinical and a quality reviewer, both required. Without a verb of its
own it shows every version.

  fedchain model register RUN                  submit a run's newest model and bring it into review
  fedchain model approve MODEL --as clinical   sign an approval; the last one that was missing releases the model
  fedchain model deploy MODEL                  mark a released model as being in use
  fedchain model status                        where every version stands, and what is missing
  fedchain model export RUN --to FILE          write a run's newest model as a safetensors file

Everything that is signed is said in plain words, with its signer, before it is signed. The record is verified first.
Where the consent for a dataset was withdrawn, every version that came from it is tainted: nobody can approve it until
`fedchain model dispose` has recorded what its reviewers decided. Releases need a chain: ledger=embedded or rpc.
"""
_MODEL: Final = "a run, the CID or digest of a model, or the id of a version"
ACTS: Final = {
    "register": "submit a model as a version and bring it into review",
    "approve": "sign an approval as one reviewer",
    "reject": "sign as one reviewer that a version goes back",
    "suspend": "suspend a released version, as one reviewer",
    "revoke": "revoke a version for good",
    "deploy": "mark a released version as being in use",
    "supersede": "take a version out of use for another one",
    "rollback": "submit a superseded version anew",
    "dispose": "sign what becomes of a tainted version, as one reviewer",
    "cancel": "take back the votes of a reviewer that were not counted yet",
    "name": "name a reviewer, as a site's organisation",
    "dismiss": "end a reviewer's time, as its organisation",
    "status": "show where versions stand",
}
DETAILS: Final = {
    "register": "Submits the newest model of a run, or the model with this CID or digest, as the first hospital of\n"
    "this home, and brings it into review. The first time, the registry of models is put on the ledger and reviewers\n"
    "are named. After a disposition the same command opens the review again.",
    "approve": "Signs an approval. It waits under the home until those of every required role are there; then all are\n"
    "sent in one transaction. Exit code 4 while one is missing, and for a tainted version.",
    "reject": "Signs that a version in review goes back to its organisation. It takes as many reviewers as an\n"
    "approval.",
    "suspend": "Suspends an approved version at once; one reviewer is enough. It takes new approvals to release it.",
    "revoke": "Revokes a version for good, as the organisation that submitted it. With --as it is a reviewer's vote\n"
    "for that, and it takes as many reviewers as an approval (exit code 4 while one is missing).",
    "deploy": "Marks an approved version as being in use, as the organisation that submitted it. Exit code 4 if it is\n"
    "not approved, its approvals have ended, or it is tainted.",
    "supersede": "Takes an approved or deployed version out of use because another one has taken its place, as the\n"
    "organisation that submitted it. `fedchain model rollback` is the way back.",
    "rollback": "Submits the model of a superseded version as a new version that descends from it, and brings it into\n"
    "review: it is released only after new approvals.",
    "dispose": "Signs that a version may be reviewed again although consent for a dataset behind it was withdrawn.\n"
    "The taint is recorded on the ledger first, where it is not. With the last vote the version is a candidate again:\n"
    "it is released only after a new review. Exit code 4 while a vote is missing.",
    "cancel": "Takes back all votes of a reviewer that wait in this home, on the ledger, so that no copy of them can\n"
    "be counted either. What was decided stays decided.",
    "name": "Has the organisation of a site name a reviewer for a year, in one role for ever. Its key is made under\n"
    "keys/reviewer where it is missing. `fedchain model register` names the first two.",
    "dismiss": "Ends a reviewer's time at once, for ever. Its votes that were not counted yet count no more.",
    "status": "Shows one version or all: its state, what is missing, and which withdrawn datasets taint it. Exit code\n"
    "4 if the one that is asked for is not released.",
}
_DECISIONS: Final = {"approve": "APPROVE", "reject": "SEND_BACK", "suspend": "SUSPEND", "revoke": "REVOKE"}
_STATES: Final = {"deploy": "DEPLOYED", "supersede": "SUPERSEDED", "revoke": "REVOKED"}
_WITHOUT_MODEL: Final = ("cancel", "name", "dismiss")

Register: TypeAlias = Callable[[Announce], Sequence[Acted]]
Cast: TypeAlias = Callable[[Announce], Tally]
Look: TypeAlias = Callable[[Path, str], Sequence[ModelSummary]]


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "model", _handle_status, summary="approve models, and show their versions", text=TEXT)
    parser.set_defaults(model="")
    below = parser.add_subparsers(metavar="", title="also")
    for name, summary in ACTS.items():
        act = below.add_parser(
            name,
            help=summary,
            description=DETAILS[name],
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        act.set_defaults(handler=_HANDLERS.get(name, _handler_of(name)))
        _add_arguments(act, name)
        add_shared(act, nested=True)
    add_export(below)


def _add_arguments(act: argparse.ArgumentParser, name: str) -> None:
    if name == "status":
        act.add_argument("model", metavar="MODEL", nargs="?", default="", help=f"{_MODEL} (default: all)")
    elif name == "register":
        act.add_argument("model", metavar="MODEL", help="a run (its newest model), or the CID or digest of a model")
    elif name not in _WITHOUT_MODEL:
        act.add_argument("model", metavar="MODEL", help=_MODEL)
    if name in _DECISIONS or name in ("dispose", "cancel"):
        needed = name != "revoke"
        who = "who signs" if needed else "the reviewer who signs (default: the organisation that submitted it)"
        act.add_argument("--as", metavar="REVIEWER", dest="reviewer", required=needed, help=who)
    if name in _DECISIONS or name == "dispose":
        act.add_argument("--evidence", metavar="FILE", help="the report that the vote rests on; it is stored")
    if name == "dispose":
        act.add_argument("--dataset", metavar="HASH", required=True, help="the withdrawn dataset")
    if name in ("name", "dismiss"):
        act.add_argument("reviewer", metavar="REVIEWER", help="the name of a key under keys/reviewer")
    if name == "name":
        act.add_argument("--role", metavar="ROLE", required=True, help="clinical or quality")
        act.add_argument("--site", metavar="SITE", required=True, help="the site whose organisation names it")


def register(screen: Screen, do: Register) -> Exit:
    """Do the steps of an act; each is told before it is signed."""
    done = do(teller(screen))
    _tell(screen, done, "", Exit.DONE)
    return Exit.DONE


def cast(screen: Screen, do: Cast) -> Exit:
    """Sign a vote; 4 while others are missing."""
    found = do(teller(screen))
    code = Exit.POLICY if found.missing else Exit.DONE
    _tell(screen, found.done, found.missing, code)
    return code


def status(home: Path, model: str, screen: Screen, look: Look) -> Exit:
    """Tell where versions stand; 4 if the one that is asked for is not released."""
    found = look(home, model)
    code = Exit.POLICY if model and not all(each.is_released for each in found) else Exit.DONE
    if screen.as_json:
        screen.document({"versions": [_document(each) for each in found], "exit": int(code)})
        return code
    if not found:
        screen.line("No version yet: `fedchain model register` submits one.")
    for each in found:
        _show(screen, each)
    return code


def taint_text(taint: Taint) -> str:
    """Return a taint in words."""
    return f"dataset {short(taint.dataset)}, withdrawn from {time_text(taint.since)} on"


def teller(screen: Screen) -> Announce:
    """Return what tells of each signature before it is made."""
    return lambda signing: screen.note(f"about to sign and send, as {signing.who}: {signing.sentence}")


def _tell(screen: Screen, done: Sequence[Acted], missing: str, code: Exit) -> None:
    if screen.as_json:
        screen.document({"done": [act_document(each) for each in done], "missing": missing or None, "exit": int(code)})
        return
    for each in done:
        how = f"transaction {hex32(each.transaction)}" if each.transaction else "signed and kept"
        screen.line(f"Done, as {each.signing.who}: {each.signing.sentence} ({how})")
    if not done:
        screen.line("Nothing to do: it is done already. `fedchain model status` shows where versions stand.")
    if missing:
        screen.line(f"Not enough yet: {missing}")


def _show(screen: Screen, each: ModelSummary) -> None:
    screen.line(f"Version     {hex_id(each.version)}")
    screen.line(f"Model       {hex_id(each.model)}")
    screen.line(f"Submitted   by organisation {hex_id(each.organisation)}")
    until = f", until {time_text(each.approved_until)}" if each.is_released else ""
    screen.line(f"State       {each.state}; {'released' if each.is_released else 'not released'}{until}")
    if each.missing:
        screen.line(f"Missing     {each.missing}")
    for taint in each.taints:
        decided = "" if taint in each.open_taints else "; its reviewers have disposed of it"
        screen.line(f"Tainted     by {taint_text(taint)}{decided}")
    screen.line()


def act_document(each: Acted) -> dict[str, object]:
    """Return a step for the JSON document."""
    return {
        "as": each.signing.who,
        "words": each.signing.sentence,
        "transaction": hex32(each.transaction) if each.transaction else None,
    }


def _document(each: ModelSummary) -> dict[str, object]:
    return {
        "version": hex_id(each.version),
        "model": hex_id(each.model),
        "round_hash": hex_id(each.round_hash),
        "organisation": hex_id(each.organisation),
        "parents": [hex_id(parent) for parent in each.parents],
        "state": each.state,
        "released": each.is_released,
        "approved_until": each.approved_until or None,
        "missing": each.missing or None,
        "taints": [
            {"dataset": hex_id(taint.dataset), "since": taint.since, "open": taint in each.open_taints}
            for taint in each.taints
        ],
    }


def _look(home: Path, model: str) -> Sequence[ModelSummary]:
    from fedchain.wiring import release_status  # noqa: PLC0415 - brings the chain and the accountant

    return release_status.status(home, model)


def _handle_status(options: argparse.Namespace, screen: Screen) -> Exit:
    return status(home_of(options), options.model, screen, _look)


def _handle_cancel(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import releases  # noqa: PLC0415 - brings the chain and the accountant

    return register(screen, lambda announce: releases.cancel(home_of(options), announce, options.reviewer))


def _handle_dismiss(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import releases  # noqa: PLC0415 - brings the chain and the accountant

    return register(screen, lambda announce: releases.dismiss(home_of(options), announce, options.reviewer))


def _handle_name(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring import releases  # noqa: PLC0415 - brings the chain and the accountant

    home, who = home_of(options), options.reviewer
    return register(screen, lambda tell: releases.name_reviewer(home, tell, who, options.role, options.site))


_HANDLERS: Final[dict[str, Handler]] = {
    "status": _handle_status,
    "cancel": _handle_cancel,
    "dismiss": _handle_dismiss,
    "name": _handle_name,
}


def _handler_of(name: str) -> Handler:
    """Return the handler of an act on one model."""

    def handle(options: argparse.Namespace, screen: Screen) -> Exit:
        from fedchain.core.releases import Decision, VersionState  # noqa: PLC0415 - help has to answer at once
        from fedchain.wiring import releases  # noqa: PLC0415 - brings the chain and the accountant

        home, model = home_of(options), options.model
        if name == "register":
            return register(screen, lambda announce: releases.register(home, announce, model))
        if name == "rollback":
            return register(screen, lambda announce: releases.roll_back(home, announce, model))
        if name in _STATES and (name not in _DECISIONS or options.reviewer is None):
            state = VersionState[_STATES[name]]
            return register(screen, lambda announce: releases.bring(home, announce, model, state))
        ballot = options.reviewer, None if options.evidence is None else Path(options.evidence)
        if name == "dispose":
            return cast(screen, lambda announce: releases.dispose(home, announce, model, options.dataset, ballot))
        return cast(screen, lambda announce: releases.vote(home, announce, model, Decision[_DECISIONS[name]], ballot))

    return handle
