"""`fedchain verify`: re-derives the recorded lineage and trusts none of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fedchain.cli import audit
from fedchain.cli.arguments import Pins, Verbs, add_pins, add_verb, home_of, pins_of
from fedchain.cli.exits import Exit, exit_of_verdict
from fedchain.cli.runs import ListRuns, full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.core.lineage import Lineage

TEXT = """\
Recomputes the record of the home from its bytes: every hash of the ledger, every signature, every model from the
updates that it was made of, every privacy total. Trusts neither the ledger's keeper nor the store.

Whoever keeps a ledger could rebuild all of it, so a record is only *verified* against a pinned head: a round hash
that you have from elsewhere (--head), or a trust file with the hospitals' own signatures (--trust).

A strategy of somebody's own is never run because a record names it: its models are then anchored, not recomputed.
With --strategy you say that you trust its code; its files, looked for in this folder, must be those of the record.

exit codes: 0 verified, 1 findings, 2 wrong input, 3 self-consistent but no pinned head, or not all recomputed
"""


class Verify(Protocol):
    """The verification as `fedchain.wiring` offers it."""

    def __call__(
        self, home: Path, /, *, run: str | None, heads: tuple[str, ...], trust: Path | None, scrub: bool
    ) -> Lineage:
        """Return what was re-derived from the home."""
        ...


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """What the user asked for; `run` may be the beginning of a run's id."""

    home: Path
    run: str | None
    pins: Pins
    scrub: bool


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "verify", _handle, summary="re-derive and check what is recorded", text=TEXT)
    parser.add_argument("--run", metavar="RUN", help="check only this run: its id, or the beginning of it")
    add_pins(parser)
    parser.add_argument(
        "--strategy", metavar="MODULE:NAME", action="append", default=[],
        help="run this strategy of somebody's own, whose code you trust, to recompute its models; may be repeated",
    )  # fmt: skip
    parser.add_argument("--all", action="store_true", help="also read every artifact that no record names")


def verify(options: VerifyOptions, screen: Screen, check: Verify, list_runs: ListRuns) -> Exit:
    """Verify and tell the outcome."""
    run = None if options.run is None else full_run_id(options.run, lambda: list_runs(options.home))
    pins = options.pins
    lineage = check(options.home, run=run, heads=pins.heads, trust=pins.trust, scrub=options.scrub)
    if screen.as_json:
        screen.document(audit.document(lineage))
    else:
        audit.show_claims(screen, lineage)
        audit.show_findings(screen, lineage)
        audit.show_not_proven(screen, lineage)
        audit.show_verdict(screen, lineage, options.home, pins)
    return exit_of_verdict(lineage.verdict)


def recorded_lineage(
    home: Path, *, run: str | None, heads: tuple[str, ...], trust: Path | None, scrub: bool
) -> Lineage:
    """Verify for real."""
    from fedchain.wiring.record import verify as rederive  # noqa: PLC0415 - brings the chain and the accountant

    return rederive(home, run=run, heads=heads, trust=trust, scrub=scrub)


def trusting(strategies: Sequence[str]) -> Verify:
    """Return the real verification that runs these strategies, looked for in the working folder first."""
    from fedchain.wiring.own_rules import OwnRule  # noqa: PLC0415 - brings torch
    from fedchain.wiring.record import Trusting  # noqa: PLC0415 - brings the chain and the accountant

    return Trusting([OwnRule.load(each, Path.cwd()) for each in strategies]).verify


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    chosen = VerifyOptions(home_of(options), options.run, pins_of(options), options.all)
    check = trusting(options.strategy) if options.strategy else recorded_lineage
    return verify(chosen, screen, check, recorded_runs)
