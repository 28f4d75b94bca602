"""`fedchain registry`: who may take part, and what a site does with its own entry."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedchain.cli.arguments import Verbs, add_shared, add_verb, home_of
from fedchain.cli.exits import Exit
from fedchain.cli.orders import Do, act, announcer, terminal
from fedchain.cli.screen import Screen
from fedchain.cli.text import delta_text, epsilon_number, epsilon_text, short, time_text
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.core.lineage import ClaimLevel
from fedchain.workflow.registry_entries import (
    DatasetEntry,
    DeviceEntry,
    OrganisationEntry,
    RegistryOverview,
    Request,
)

TEXT = """\
The registry says who may take part: organisations, their device keys, their datasets and consents. Each site decides
about its own entry alone, with its admin key; anyone may relay what that key signed, and nobody can hold it back.

Each verb says in plain words what will be signed, by which key and what it changes, before anything is sent. On a
terminal it asks. Repeating a rotation that was interrupted finishes it.
"""
ACTS: Final = {
    "withdraw": "withdraw a site's consent to train on its dataset",
    "grant": "renew a site's consent for a year",
    "revoke-device": "revoke the key that a site signs its updates with",
    "rotate-device": "revoke that key and register a fresh one",
    "rotate-admin": "hand a site's administration to a fresh key",
}
DETAILS: Final = {
    "status": "Shows what the registry holds: replayed from the ledger's events, and compared with its head.",
    "withdraw": "Withdraws consent, for every dataset of the site or the one that is named. No later round may\n"
    "include it, and no later run renews it by itself: only `fedchain registry grant` does.",
    "grant": "Gives consent again for a year from now, on the terms of the last one, which it replaces, withdrawn\n"
    "or not.",
    "revoke-device": "Revokes the site's present device key for ever.\n"
    "`fedchain registry rotate-device` gives it a new one.",
    "rotate-device": "Revokes the site's present device key and registers a fresh one, which later runs sign with.\n"
    "The old key file is kept under keys/retired.",
    "rotate-admin": "Hands the site's entry to a fresh admin key, which says itself that it belongs to the site. The\n"
    "old key file stays until the ledger has the new one, and is kept under keys/retired after that.",
}
SIGNED: Final = "signed by the organisation's admin"
ANCHORED: Final = "on the ledger without a signature"
_HASH: Final = re.compile(r"(0x)?[0-9a-fA-F]{64}")
_MAX_REASON: Final = 255


def add_parser(verbs: Verbs) -> None:
    """Add the verb and its own verbs."""
    parser = add_verb(
        verbs, "registry", _status, summary="show who may take part, and change a site's entry", text=TEXT
    )
    below = parser.add_subparsers(metavar="", title="also")
    _nested(below, "status", "show organisations, devices, datasets and consents").set_defaults(handler=_status)
    for name, summary in ACTS.items():
        act_parser = _nested(below, name, summary)
        act_parser.set_defaults(handler=_handler_of(name))
        act_parser.add_argument("site", metavar="SITE", help="the site that acts, by its name")
        if name in ("withdraw", "grant"):
            act_parser.add_argument("--dataset", metavar="HASH", help="one dataset, where the site has several")
        if name == "withdraw":
            act_parser.add_argument("--reason", metavar="N", default="0", help="a code from 0 to 255 (default: 0)")
        act_parser.add_argument(
            "--direct", action="store_true", help="send it from the site's own key, which pays, instead of relaying it"
        )
        act_parser.add_argument("--yes", action="store_true", help="do not ask on a terminal")


def _nested(below: Verbs, name: str, summary: str) -> argparse.ArgumentParser:
    parser = below.add_parser(
        name,
        help=summary,
        description=DETAILS[name],
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_shared(parser, nested=True)
    return parser


def show(home: Path, screen: Screen, overview: Callable[[Path], RegistryOverview]) -> Exit:
    """Tell what the registry holds, each item with the level at which it holds."""
    found = overview(home)
    if screen.as_json:
        screen.document({
            "registry_head": hex32(found.head),
            "organisations": [_document(each, found.names) for each in found.organisations],
            "exit": int(Exit.DONE),
        })  # fmt: skip
        return Exit.DONE
    names = {each.organisation: _name(each, found.names) for each in found.organisations}
    everything = [(names[each.organisation], each) for each in found.organisations]
    screen.table(
        "Organisations", ["site", "organisation", "admin", "level"],
        [[name, hex32(each.organisation), hex32(each.admin), _level(each)] for name, each in everything],
    )  # fmt: skip
    screen.table(
        "Device keys", ["site", "device", "class", "from", "until", "revoked since", "level"],
        [_device_row(name, device) for name, each in everything for device in each.devices],
    )  # fmt: skip
    screen.table(
        "Datasets",
        ["site", "dataset", "rows", "epsilon", "delta", "unit", "from", "until", "withdrawn since", "level"],
        [_dataset_row(name, dataset) for name, each in everything for dataset in each.datasets],
    )  # fmt: skip
    screen.line(f"Registry head: {hex32(found.head)}")
    screen.line(f"Levels: anchored = {ANCHORED}; signed = on the ledger and {SIGNED}. Names are this home's own.")
    return Exit.DONE


def _name(each: OrganisationEntry, names: dict[bytes, str]) -> str:
    return names.get(each.organisation, short(each.organisation.hex()))


def _level(each: OrganisationEntry | DeviceEntry | DatasetEntry) -> str:
    return (ClaimLevel.SIGNED if each.is_signed else ClaimLevel.ANCHORED).value


def _device_row(name: str, each: DeviceEntry) -> list[str]:
    window = [time_text(each.valid_from), time_text(each.valid_until), _since(each.revoked_at)]
    return [name, hex32(each.address), str(each.device_class), *window, _level(each)]


def _dataset_row(name: str, each: DatasetEntry) -> list[str]:
    grant, start = each.grant, [name, short(each.commitment.hex()), str(each.nominal_size)]
    if grant is None:
        return [*start, *["no consent"] * 6, _level(each)]
    privacy = [epsilon_text(grant.micro_epsilon_grant), delta_text(grant.delta_e12), short(grant.unit.hex())]
    window = [time_text(grant.from_), time_text(grant.until), _since(each.withdrawn_at)]
    return [*start, *privacy, *window, _level(each)]


def _since(time: int | None) -> str:
    return "-" if time is None else time_text(time)


def _document(each: OrganisationEntry, names: dict[bytes, str]) -> dict[str, object]:
    return {
        "organisation": hex32(each.organisation),
        "site": names.get(each.organisation),
        "admin": hex32(each.admin),
        "level": _level(each),
        "devices": [
            {
                "device": hex32(key.address),
                "device_class": key.device_class,
                "valid_from": key.valid_from,
                "valid_until": key.valid_until,
                "revoked_since": key.revoked_at,
                "level": _level(key),
            }
            for key in each.devices
        ],
        "datasets": [
            {
                "dataset": hex32(dataset.commitment),
                "nominal_size": dataset.nominal_size,
                "consent": _consent(dataset),
                "level": _level(dataset),
            }
            for dataset in each.datasets
        ],
    }


def _consent(each: DatasetEntry) -> dict[str, object] | None:
    grant = each.grant
    if grant is None:
        return None
    return {
        "policy": hex32(grant.policy),
        "epsilon": epsilon_number(grant.micro_epsilon_grant),
        "delta": grant.delta_e12 / 10**12,
        "unit": hex32(grant.unit),
        "from": grant.from_,
        "until": grant.until,
        "withdrawn_since": each.withdrawn_at,
    }


def _status(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.registry import overview  # noqa: PLC0415 - brings the chain

    return show(home_of(options), screen, overview)


def _handler_of(name: str) -> Callable[[argparse.Namespace, Screen], Exit]:
    def handle(options: argparse.Namespace, screen: Screen) -> Exit:
        reason = _reason(options.reason) if name == "withdraw" else 0
        request = _request(options, screen)
        from fedchain.wiring import registry  # noqa: PLC0415 - brings the chain

        acts: dict[str, Do] = {
            "withdraw": lambda home, request: registry.withdraw(home, request, reason),
            "grant": registry.grant,
            "revoke-device": registry.revoke_device,
            "rotate-device": registry.rotate_device,
            "rotate-admin": registry.rotate_admin,
        }
        return act(home_of(options), screen, request, acts[name])

    return handle


def _request(options: argparse.Namespace, screen: Screen) -> Request:
    announce = announcer(screen, terminal(screen, is_sure=options.yes))
    return Request(options.site, announce, options.direct, _dataset(getattr(options, "dataset", None)))


def _dataset(text: str | None) -> bytes | None:
    if text is None:
        return None
    if not _HASH.fullmatch(text):
        raise InputError("--dataset", expected="64 hexadecimal digits", got=repr(text)[:80])
    return bytes.fromhex(text.removeprefix("0x"))


def _reason(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > _MAX_REASON:
        raise InputError("--reason", expected="a code from 0 to 255", got=repr(text)[:80])
    return int(text)
