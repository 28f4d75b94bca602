"""`fedchain lineage`: how a model came to be, as far as it was verified."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.cli import audit
from fedchain.cli.arguments import Pins, Verbs, add_pins, add_verb, home_of, pins_of
from fedchain.cli.exits import Exit, exit_of_verdict
from fedchain.cli.releases import release_document, show_releases
from fedchain.cli.screen import Screen
from fedchain.cli.text import epsilon_number, epsilon_text, hex_id, short, time_text
from fedchain.cli.verify import Verify, recorded_lineage
from fedchain.core.errors import InputError
from fedchain.core.lineage import ClaimLevel, Contribution, Lineage, LineageRound, Release

TEXT = """\
Shows the rounds that led to a model: who contributed which dataset with which weight, what privacy was spent, what
was rejected, and, where the model is a registered version, its state and who approved it until when. The whole record
is verified first, exactly as by `fedchain verify`, and every item says how strongly it holds. MODEL is a CID (content
identifier: the hash of the model's bytes) or a model digest; without it, the newest model is shown.

exit codes: as of `fedchain verify`
"""
CLAIMS: Final = {
    "models": "model",
    "round hashes": "chain",
    "contributions": "update",
    "organisations": "consent",
    "epsilon": "privacy",
    "lifetime epsilon": "update",
    "rejections": "rejection",
    "donated rows": "validation",
    "withdrawn datasets": "registry",
    "release states": "release",
    "approvals": "approval",
}
"""Which claim of the verifier stands behind each item. Lifetime totals are recomputed at the end of each run only."""

DONATED: Final = "readable for all who verify, excluded from training, used to score updates"

TAINTED: Final = "these rounds' models hold updates of datasets whose consent was withdrawn, or descend from one"


@dataclass(frozen=True, slots=True)
class LineageOptions:
    """What the user asked for; an empty `model` means the newest."""

    home: Path
    model: str
    pins: Pins


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "lineage", _handle, summary="show how a model came to be", text=TEXT)
    parser.add_argument("model", metavar="MODEL", nargs="?", default="", help="a CID or model digest")
    add_pins(parser)


def lineage(options: LineageOptions, screen: Screen, check: Verify) -> Exit:
    """Verify, then show the run that holds the model, up to that model."""
    pins = options.pins
    found = check(options.home, run=None, heads=pins.heads, trust=pins.trust, scrub=False)
    rounds = _rounds_of(found, options.model)
    if screen.as_json:
        levels = {item: level_of(found, item, rounds) for item in CLAIMS}
        shown = {"levels": levels, "lineage": [_round(each) for each in rounds]}
        releases = [release_document(each) for each in releases_of(found, rounds)]
        origin = {"initial_model": _origin(found, rounds)}
        screen.document({**audit.document(found), "model": _model(rounds), **origin, **shown, "releases": releases})
    else:
        _show(screen, found, rounds)
        audit.show_findings(screen, found)
        audit.show_not_proven(screen, found)
        audit.show_verdict(screen, found, options.home, pins)
    return exit_of_verdict(found.verdict)


def level_of(found: Lineage, item: str, rounds: Sequence[LineageRound]) -> str:
    """Return how strongly an item holds: never more than the verifier checked, "finding" where it failed."""
    claim = CLAIMS[item]
    runs = {each.run for each in rounds}
    if any(each.claim == claim and each.run in (*runs, "") for each in found.findings):
        return "finding"
    return next((each.level.value for each in found.claims if each.name == claim), ClaimLevel.SELF_REPORTED.value)


def _rounds_of(found: Lineage, model: str) -> list[LineageRound]:
    """The rounds of the run that holds the model, up to the first that has it; the last run for an empty model."""
    if not found.rounds:
        return []
    if not model:
        return [each for each in found.rounds if each.run == found.rounds[-1].run]
    wanted = model.removeprefix("0x")
    holder = next((each for each in found.rounds if wanted in (each.model_cid, each.model_digest)), None)
    if holder is None:
        raise InputError(
            "MODEL", expected="a CID or model digest of this record", got=model[:100], remedy="`fedchain runs` has them"
        )
    return [each for each in found.rounds if each.run == holder.run and each.round <= holder.round]


def _show(screen: Screen, found: Lineage, rounds: Sequence[LineageRound]) -> None:
    if not rounds:
        screen.line("No round could be verified.")
        return
    model = rounds[-1]
    screen.line(f"Model       {model.model_cid}")
    screen.line(f"Digest      {hex_id(model.model_digest)}")
    screen.line(f"Run         {hex_id(model.run)}")
    screen.line(f"Round hash  {hex_id(model.round_hash)}")
    origin = _origin(found, rounds)
    if origin is not None:
        screen.line(f"Began with  {origin['digest']}, imported from a file")
        screen.line(f"            the file's sha256: {origin['file_sha256']}")
        screen.line(f"            {origin['is']}")
    screen.line()
    title = _title("Rounds", found, rounds, ("models", "round hashes", "contributions", "rejections"))
    header = ["round", "ended", "round hash", "model digest", "contributors", "rejected"]
    screen.table(title, header, [_round_cells(each) for each in rounds])
    items = ("contributions", "organisations", "epsilon", "lifetime epsilon")
    title = _title("Contributions", found, rounds, items)
    header = ["round", "client", "organisation", "dataset", "weight", "epsilon", "lifetime"]
    cells = [_contribution_cells(each.round, part) for each in rounds for part in each.contributions]
    screen.table(title, header, cells)
    donated = [[short(each.client), str(each.rows)] for each in model.donated]
    if donated:
        screen.table(
            f"{_title('Donated rows', found, rounds, ('donated rows',))}: {DONATED}", ["client", "rows"], donated
        )
    show_releases(screen, releases_of(found, rounds), _title("Releases", found, rounds, ("release states",)))
    _show_taints(screen, found, rounds)
    rejected = [[str(each.round), reason] for each in rounds for reason in each.rejections]
    if rejected:
        screen.table(_title("Rejected replies", found, rounds, ("rejections",)), ["round", "reason"], rejected)


def releases_of(found: Lineage, rounds: Sequence[LineageRound]) -> list[Release]:
    """Return the versions of the model that the last of the rounds holds."""
    digest = rounds[-1].model_digest if rounds else ""
    return [each for each in found.releases if each.model == digest]


def _show_taints(screen: Screen, found: Lineage, rounds: Sequence[LineageRound]) -> None:
    tainted = [
        [str(each.round), hex_id(taint.dataset), time_text(taint.since)] for each in rounds for taint in each.taints
    ]
    if tainted:
        title = f"{_title('Withdrawn datasets', found, rounds, ('withdrawn datasets',))}: {TAINTED}"
        screen.table(title, ["tainted round", "dataset", "withdrawn from"], tainted)


def _title(name: str, found: Lineage, rounds: Sequence[LineageRound], items: Sequence[str]) -> str:
    """A table's title with the level of everything in it."""
    return f"{name} ({'; '.join(f'{item}: {level_of(found, item, rounds)}' for item in items)})"


def _round_cells(each: LineageRound) -> list[str]:
    counts = [str(len(each.contributions)), str(len(each.rejections))]
    return [str(each.round), each.kind, short(each.round_hash), short(each.model_digest), *counts]


def _contribution_cells(round_: int, part: Contribution) -> list[str]:
    spent = [epsilon_text(part.run_micro_epsilon), epsilon_text(part.micro_epsilon_total)]
    many = part.population
    who = short(part.client) + ("" if many is None else f", {many.drawn:,} of {many.clients:,} clients")
    return [str(round_), who, short(part.organisation), short(part.dataset), str(part.weight), *spent]


def _model(rounds: Sequence[LineageRound]) -> dict[str, str] | None:
    if not rounds:
        return None
    last = rounds[-1]
    return {"cid": last.model_cid, "digest": hex_id(last.model_digest), "run": hex_id(last.run)}


def _origin(found: Lineage, rounds: Sequence[LineageRound]) -> dict[str, str] | None:
    """Return the imported model that a run began with, and what it is in this record; None for a fresh one.

    The file's sha256 is the run's own word; the digest, and whose model it is, are verified with the rounds.
    """
    if not rounds or not rounds[0].initial_file:
        return None
    digest = rounds[0].base_model
    parent = next((each for each in found.rounds if each.model_digest == digest and each.run != rounds[0].run), None)
    known = "a model that this record does not have: where it came from is not verified"
    if parent is not None:
        known = f"the model of run {hex_id(parent.run)} after round {parent.round} of this record"
    return {"digest": hex_id(digest), "file_sha256": rounds[0].initial_file, "is": known}


def _round(each: LineageRound) -> dict[str, object]:
    return {
        "round": each.round,
        "kind": each.kind,
        "round_hash": hex_id(each.round_hash),
        "transaction": hex_id(each.transaction),
        "base_model": hex_id(each.base_model),
        "model_digest": hex_id(each.model_digest),
        "model_cid": each.model_cid,
        "contributions": [_contribution(part) for part in each.contributions],
        "rejections": list(each.rejections),
        "donated": {hex_id(one.client): one.rows for one in each.donated},
        "taints": [{"dataset": hex_id(taint.dataset), "since": taint.since} for taint in each.taints],
    }


def _contribution(part: Contribution) -> dict[str, object]:
    return {
        "client": hex_id(part.client),
        "organisation": hex_id(part.organisation),
        "dataset": hex_id(part.dataset),
        "weight": part.weight,
        "population": None
        if (many := part.population) is None
        else {
            "root": hex_id(many.root),
            "clients": many.clients,
            "drawn": many.drawn,
        },
        "epsilon": epsilon_number(part.run_micro_epsilon),
        "epsilon_total": epsilon_number(part.micro_epsilon_total),
    }


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    return lineage(LineageOptions(home_of(options), options.model, pins_of(options)), screen, recorded_lineage)
