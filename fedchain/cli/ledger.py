"""`fedchain ledger`: where the record is kept, how it stands, and the proof of a run's head."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.cli import contracts
from fedchain.cli.arguments import Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.runs import ListRuns, full_run_id, recorded_runs
from fedchain.cli.screen import Screen
from fedchain.cli.text import short, time_text
from fedchain.core.errors import InputError
from fedchain.ports.roles import Role
from fedchain.workflow.standing import HeadProof, LedgerStanding, RunStanding

TEXT: Final = """\
`fedchain ledger status` shows where the record of the home is kept and how it stands. `fedchain ledger prove RUN`
proves the head of a run against the header of a block, so that nobody has to believe the node that was asked.

Whoever runs the federation deploys its contracts, gives and takes their roles, and may pause sealing. Each of these
says in plain words what will be signed, by which key, before anything is sent. On a terminal it asks.
"""
STATUS: Final = """\
Shows the ledger of the home: its kind, its chain and contracts or its log, who may seal, and where each run ends. What
is shown is the ledger's own word; `fedchain verify` re-derives it.
"""
PROVE: Final = """\
Asks for the path from a block's header to the storage slot of the run's head, checks every hash on it, and shows the
slot. Without --block the hash of the block is the node's own word: compare it with what another node or a block
explorer says of that block, or give it with --block.

exit codes: 0 proved against --block, 1 not proved, 2 wrong input, 3 proved against a block that the node named
"""
EXPORT: Final = """\
Writes the embedded chain to a file, with its genesis and every block, as another implementation of Ethereum can execute
it again. `python scripts/reexecute.py FILE` does so with the Ethereum execution specifications.
"""
NOTE: Final = "the ledger's own word; fedchain verify re-derives it"
ReadStanding: TypeAlias = Callable[[Path], LedgerStanding]
Export: TypeAlias = Callable[[Path, Path], int]
Prove: TypeAlias = Callable[[Path, bytes, bytes | None], HeadProof]


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(verbs, "ledger", _handle_status, summary="show where the record is kept, prove a head", text=TEXT)
    below = parser.add_subparsers(metavar="", title="also")
    for name, text, handler in (
        ("status", STATUS, _handle_status), ("prove", PROVE, _handle_prove), ("export", EXPORT, _handle_export),
    ):  # fmt: skip
        nested = below.add_parser(
            name,
            help=text.partition(".")[0].lower(),
            description=text,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        nested.set_defaults(handler=handler)
        add_shared(nested, nested=True)
        if name == "prove":
            nested.add_argument("run", metavar="RUN", help="a run: its id, or the beginning of it")
            nested.add_argument("--block", metavar="HASH", help="the hash of the newest block, from elsewhere")
        if name == "export":
            nested.add_argument("file", metavar="FILE", help="a file that does not exist yet")
    contracts.add_parsers(below)


def show_export(home: Path, file: Path, screen: Screen, export: Export) -> Exit:
    """Write the chain to a file that does not exist yet, and say how many blocks it has."""
    blocks = export(home, file)
    if screen.as_json:
        screen.document({"file": str(file), "blocks": blocks})
    else:
        screen.line(f"{blocks} blocks in {file}; execute them again: python scripts/reexecute.py {file}")
    return Exit.DONE


def show_status(home: Path, screen: Screen, read: ReadStanding) -> Exit:
    """Tell how the ledger stands."""
    found = read(home)
    if screen.as_json:
        screen.document({"level": NOTE, **_document(found)})
        return Exit.DONE
    screen.table(f"Ledger ({NOTE})", ["what", "value"], [[name, text] for name, text in _rows(found)])
    header = ["run", "rounds", "state", "round hash", "slot"]
    screen.table("Runs", header, [_run_cells(each) for each in found.runs])
    return Exit.DONE


def show_proof(home: Path, asked: tuple[str, bytes | None], screen: Screen, prove: Prove, list_runs: ListRuns) -> Exit:
    """Prove a run's head and tell against what."""
    name, block_hash = asked
    run = full_run_id(name, lambda: list_runs(home))
    proof = prove(home, bytes.fromhex(run.removeprefix("0x")), block_hash)
    code = Exit.DONE if proof.is_pinned else Exit.UNPINNED
    if screen.as_json:
        screen.document({
            "run": run, "contract": _hex(proof.contract), "slot_key": _hex(proof.slot_key),
            "slot": _hex(proof.slot), "block": proof.block, "block_hash": _hex(proof.block_hash),
            "pinned": proof.is_pinned, "exit": int(code),
        })  # fmt: skip
        return code
    screen.line(f"slot of run {run}: {_hex(proof.slot)}")
    screen.line(f"slot {_hex(proof.slot_key)} of contract {_hex(proof.contract)}")
    screen.line(f"proved by the header of block {proof.block} with hash {_hex(proof.block_hash)}")
    if not proof.is_pinned:
        screen.line("that hash is the node's own word: compare it with another node's, or give it with --block")
    return code


def _rows(found: LedgerStanding) -> list[tuple[str, str]]:
    rows = [
        ("kind", found.kind),
        ("federation", _hex(found.federation)),
        ("registry head", _hex(found.registry_head)),
    ]
    if found.lead is not None:
        until = found.lead.paused_until
        rows += [
            ("chain id", str(found.chain_id)),
            ("registry contract", _hex(found.registry_contract)),
            ("rounds contract", _hex(found.rounds_contract)),
            ("aggregator", _hex(found.lead.aggregator)),
            ("fence", str(found.lead.fence)),
            ("paused until", time_text(until) if until else "never"),
        ]
    if found.holders is not None:
        rows += [
            (role.value, ", ".join(map(_hex, holders)) or "nobody")
            for role, holders in found.holders.items()
            if role is not Role.AGGREGATOR
        ]
    if found.tree_head is not None:
        rows += [
            ("log key", _hex(found.rounds_contract)),
            ("entries", str(found.tree_head.size)),
            ("tree head", _hex(found.tree_head.root)),
            ("last entry", time_text(found.tree_head.at)),
        ]
    return rows


def _run_cells(each: RunStanding) -> list[str]:
    rounds = each.round - 1 if each.is_closed else each.round
    state = "closed" if each.is_closed else "open"
    return [short(each.run.hex()), str(rounds), state, _hex(each.round_hash), _hex(each.slot)]


def _document(found: LedgerStanding) -> dict[str, object]:
    lead, head = found.lead, found.tree_head
    return {
        "kind": found.kind,
        "chain_id": found.chain_id,
        "registry_contract": _hex(found.registry_contract),
        "rounds_contract": _hex(found.rounds_contract),
        "federation": _hex(found.federation),
        "registry_head": _hex(found.registry_head),
        "aggregator": None if lead is None else _hex(lead.aggregator),
        "fence": None if lead is None else lead.fence,
        "paused_until": None if lead is None else lead.paused_until,
        "roles": None
        if found.holders is None
        else {role.value: [_hex(each) for each in holders] for role, holders in found.holders.items()},
        "tree_head": None if head is None else {"size": head.size, "root": _hex(head.root), "at": head.at},
        "runs": [
            {
                "run": _hex(each.run),
                "round": each.round,
                "closed": each.is_closed,
                "round_hash": _hex(each.round_hash),
                "slot": _hex(each.slot),
            }
            for each in found.runs
        ],
    }


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _standing(home: Path) -> LedgerStanding:
    from fedchain.wiring.standing import standing  # noqa: PLC0415 - brings the chain with it

    return standing(home)


def _proved(home: Path, run: bytes, block_hash: bytes | None) -> HeadProof:
    from fedchain.wiring.standing import prove  # noqa: PLC0415 - brings the chain with it

    return prove(home, run, block_hash)


def _exported(home: Path, file: Path) -> int:
    from fedchain.wiring.standing import export  # noqa: PLC0415 - brings the chain with it

    return export(home, file)


def _handle_export(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_export(home_of(options), Path(options.file), screen, _exported)


def _handle_status(options: argparse.Namespace, screen: Screen) -> Exit:
    return show_status(home_of(options), screen, _standing)


def _handle_prove(options: argparse.Namespace, screen: Screen) -> Exit:
    block = None if options.block is None else _block_hash(options.block)
    return show_proof(home_of(options), (options.run, block), screen, _proved, recorded_runs)


def _block_hash(text: str) -> bytes:
    try:
        value = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        value = b""
    if len(value) != 32:
        raise InputError("--block", expected="64 hexadecimal digits", got=repr(text)[:80])
    return value
