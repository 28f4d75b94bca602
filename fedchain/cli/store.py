"""`fedchain store`: what keeps the artifacts of the home, whether it still does, and taking them elsewhere."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli import housekeeping
from fedchain.cli.arguments import Handler, Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit, worst
from fedchain.cli.runs import full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError
from fedchain.workflow.replication import AuditOutcome, RepairOutcome, ReplicaFinding, ReplicaStanding

SUMMARY: Final = "move, check and keep house among the artifacts"
TEXT: Final = """\
The store keeps all artifacts (models, updates, manifests, reports), each named by its CID, the hash of its bytes.
`fedchain store status` shows what keeps them; `audit` reads random pieces back, `repair` copies what a replica lost.
`fedchain store export` and `fedchain store import` take artifacts elsewhere and back as CAR files, which every node of
IPFS reads.
`fedchain store usage` shows how full it is, `scrub` reads all of it and tells what is damaged, missing or left over,
`gc` removes what nothing needs, and `quota` sets how large it may grow.
"""
STATUS: Final = """\
Shows every store that keeps artifacts of the home and how many each lists: the folder of the home, and the nodes of
store=kubo. What is shown is their own word; `fedchain store audit` reads back.
"""
AUDIT: Final = """\
Reads random pieces back from every replica and hashes them. Run it from time to time, from a timer of the system: of a
share f of artifacts that are lost or damaged, n pieces miss all with probability (1 - f)^n.
"""
REPAIR: Final = """\
Copies to every replica what it lacks, from one that has it sound. With --full every byte of every replica is read
first, and what is damaged is replaced, too.
"""
EXPORT: Final = """\
Writes artifacts to a CAR file: one by its CID, or with --run all that the record of a run names. Every byte is verified
on the way. A node of IPFS takes the file with `ipfs dag import FILE`, and pins it.
"""
IMPORT: Final = """\
Puts the artifacts of a CAR file into the store. Every block is verified before the first one is kept; a file that lacks
a block of what it announces is refused.
"""
NOTE: Final = "the replicas' own word; fedchain store audit reads back"
_MOST_SAMPLES: Final = 1_000_000
ReadStanding: TypeAlias = Callable[[Path], Sequence[ReplicaStanding]]
Audit: TypeAlias = Callable[[Path, int], AuditOutcome]
Repair: TypeAlias = Callable[[Path, bool], RepairOutcome]
Export: TypeAlias = Callable[[Path, Sequence[Cid], Path], int]
Import: TypeAlias = Callable[[Path, Path], Sequence[Cid]]


@dataclass(frozen=True, slots=True)
class Below:
    """One verb under `fedchain store`."""

    name: str
    text: str
    handler: Handler
    add_arguments: Callable[[argparse.ArgumentParser], None]


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "store", _handle_status, summary=SUMMARY, text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    for each in BELOW:
        nested = below.add_parser(
            each.name,
            help=each.text.partition(".")[0].partition(":")[0].lower(),
            description=each.text,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        nested.set_defaults(handler=each.handler)
        add_shared(nested, nested=True)
        each.add_arguments(nested)
    housekeeping.add_verbs(below)


def show_export(home: Path, roots: Sequence[Cid], file: Path, screen: Screen, export: Export) -> Exit:
    """Write a CAR file and say what it holds."""
    size = export(home, roots, file)
    if screen.as_json:
        screen.document({"file": str(file), "bytes": size, "roots": [each.text for each in roots]})
    else:
        screen.line(f"{len(roots)} artifacts in {file} ({size} bytes); a node takes them: ipfs dag import {file}")
    return Exit.DONE


def show_import(home: Path, file: Path, screen: Screen, take: Import) -> Exit:
    """Read a CAR file and say what came."""
    roots = take(home, file)
    if screen.as_json:
        screen.document({"file": str(file), "roots": [each.text for each in roots]})
        return Exit.DONE
    for each in roots:
        screen.line(each.text)
    return Exit.DONE


def show_status(home: Path, screen: Screen, read: ReadStanding) -> Exit:
    """Tell what each replica lists."""
    found = read(home)
    code = worst(Exit.UNREACHABLE if each.fault else Exit.FINDINGS if each.missing else Exit.DONE for each in found)
    if screen.as_json:
        replicas = [
            {
                "name": each.name, "written": each.is_written, "artifacts": each.artifacts, "missing": each.missing,
                "fault": each.fault,
            }
            for each in found
        ]  # fmt: skip
        screen.document({"level": NOTE, "replicas": replicas, "exit": int(code)})
        return code
    header = ["replica", "written to", "artifacts", "missing", "fault"]
    rows = [
        [each.name, "yes" if each.is_written else "no", str(each.artifacts), str(each.missing), each.fault or "none"]
        for each in found
    ]
    screen.table(f"Store ({NOTE})", header, rows)
    return code


def show_audit(home: Path, samples: int, screen: Screen, check: Audit) -> Exit:
    """Tell what did not come back."""
    outcome = check(home, samples)
    code = _code(outcome.findings)
    if screen.as_json:
        findings = [_document(each) for each in outcome.findings]
        screen.document({"sampled": outcome.sampled, "findings": findings, "exit": int(code)})
        return code
    screen.line(f"{outcome.sampled} pieces read back, {len(outcome.findings)} findings")
    _tell(outcome.findings, screen)
    if outcome.findings:
        screen.line("mend it: fedchain store repair --full")
    return code


def show_repair(home: Path, *, reads_all: bool, screen: Screen, mend: Repair) -> Exit:
    """Tell what was copied, and what could not be."""
    outcome = mend(home, reads_all)
    code = _code(outcome.findings)
    if screen.as_json:
        mended, findings = ([_document(each) for each in found] for found in (outcome.mended, outcome.findings))
        screen.document({"mended": mended, "findings": findings, "exit": int(code)})
        return code
    screen.line(f"{len(outcome.mended)} copies made, {len(outcome.findings)} findings")
    _tell(outcome.findings, screen)
    return code


def _code(findings: Sequence[ReplicaFinding]) -> Exit:
    return worst([Exit.UNREACHABLE if each.is_silent else Exit.FINDINGS for each in findings] or [Exit.DONE])


def _tell(findings: Sequence[ReplicaFinding], screen: Screen) -> None:
    for each in findings:
        screen.line(f"{each.replica}: {each.fault}")


def _document(finding: ReplicaFinding) -> dict[str, object]:
    return {
        "replica": finding.replica, "cid": finding.cid, "fault": finding.fault, "silent": finding.is_silent,
    }  # fmt: skip


def _add_nothing(_parser: argparse.ArgumentParser) -> None:
    """A verb without arguments of its own."""


def _add_audit(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--samples", metavar="N", type=int, default=100, help="pieces to read from each replica (100)")


def _add_repair(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="read every byte of each, and replace what is damaged")


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("cid", metavar="CID", nargs="?", help="the artifact")
    parser.add_argument("file", metavar="FILE", help="a file that does not exist yet")
    parser.add_argument("--run", metavar="R", help="all artifacts of a run: its id, or the beginning of it")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a CAR file")


def _handle_status(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_status(home_of(options), screen, _standing)


def _handle_audit(options: argparse.Namespace, screen: Screen) -> Exit:
    if not 1 <= options.samples <= _MOST_SAMPLES:
        raise InputError("--samples", expected=f"1 to {_MOST_SAMPLES}", got=options.samples)
    return show_audit(home_of(options), options.samples, screen, _audited)


def _handle_repair(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_repair(home_of(options), reads_all=options.full, screen=screen, mend=_repaired)


def _handle_export(options: argparse.Namespace, screen: Screen) -> Exit:
    home = home_of(options)
    if (options.cid is None) == (options.run is None):
        raise InputError("fedchain store export", expected="a CID or --run", got="both" if options.cid else "neither")
    if options.cid is not None:
        roots: Sequence[Cid] = (Cid.parse(options.cid),)
    else:
        roots = _artifacts(home, full_run_id(options.run, lambda: recorded_runs(home)))
    return show_export(home, roots, Path(options.file), screen, _export)


def _handle_import(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_import(home_of(options), Path(options.file), screen, _import)


def _standing(home: Path) -> Sequence[ReplicaStanding]:
    from fedchain.wiring.replication import standing  # noqa: PLC0415 - brings HTTP with it

    return standing(home)


def _audited(home: Path, samples: int) -> AuditOutcome:
    from fedchain.wiring.replication import audit  # noqa: PLC0415 - brings HTTP with it

    return audit(home, samples)


def _repaired(home: Path, reads_all: bool) -> RepairOutcome:
    from fedchain.wiring.replication import repair  # noqa: PLC0415 - brings HTTP with it

    return repair(home, reads_all=reads_all)


def _artifacts(home: Path, run: str) -> Sequence[Cid]:
    from fedchain.wiring.cars import artifacts_of  # noqa: PLC0415 - brings the chain with it

    return artifacts_of(home, run)


def _export(home: Path, roots: Sequence[Cid], file: Path) -> int:
    from fedchain.wiring.cars import export  # noqa: PLC0415 - brings the chain with it

    return export(home, roots, file)


def _import(home: Path, file: Path) -> Sequence[Cid]:
    from fedchain.wiring.cars import import_file  # noqa: PLC0415 - brings the chain with it

    return import_file(home, file)


BELOW: Final[tuple[Below, ...]] = (
    Below("status", STATUS, _handle_status, _add_nothing),
    Below("audit", AUDIT, _handle_audit, _add_audit),
    Below("repair", REPAIR, _handle_repair, _add_repair),
    Below("export", EXPORT, _handle_export, _add_export),
    Below("import", IMPORT, _handle_import, _add_import),
)
