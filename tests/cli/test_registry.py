"""`fedchain registry` tells everything in words before it is signed, asks on a terminal only, and refuses bad input."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import create_home
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.cli.orders import Do, act, announcer, words
from fedchain.cli.registry import show
from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegisterDevice, RevokeDevice, RotateAdmin
from fedchain.workflow.registry_entries import (
    Act,
    DatasetEntry,
    DeviceEntry,
    Done,
    Order,
    OrganisationEntry,
    RegistryOverview,
    Request,
)
from tests.cli.samples import HOSTILE, screen

ADMIN, KEY, DATASET, HOME = b"\xad" * 20, b"\xde" * 20, b"\xda" * 32, Path("home")
GRANT = ConsentGrant(
    DATASET, b"\xfe" * 32, b"\x01" * 32, 1_800_000_000, 1_831_536_000, 8_000_000, 10_000_000, b"\x02" * 32, 100, 3
)
WITHDRAWAL = Order("va", ADMIN, ConsentWithdraw(DATASET, 1_800_000_000, 7, 4), is_direct=False)
ENTRY = OrganisationEntry(
    b"\x0a" * 32,
    ADMIN,
    False,
    (DeviceEntry(KEY, 1, 1_800_000_000, 1_831_536_000, 1_800_000_060, True),),
    (DatasetEntry(DATASET, 100, GRANT, None, True), DatasetEntry(b"\xdb" * 32, 9, None, None, True)),
)
VERBS = ["withdraw", "grant", "revoke-device", "rotate-device", "rotate-admin"]


def overview(names: dict[bytes, str]) -> RegistryOverview:
    return RegistryOverview(b"\x0e" * 32, (ENTRY,), names)


def told(found: RegistryOverview) -> str:
    shown, out, _ = screen()
    assert show(HOME, shown, lambda _: found) is Exit.DONE
    return out.getvalue()


def test_status_tells_every_entry_with_its_level() -> None:
    text = told(overview({ENTRY.organisation: "va"}))
    for part in (
        "va", "0x" + "ad" * 20, "0x" + "de" * 20, "2027-01-15 08:01:00Z", "8.000", "1e-05", "no consent",
        "anchored", "signed", "0x" + "0e" * 32,
    ):  # fmt: skip
        assert part in text
    assert "0x0a0a..0a0a" in told(overview({}))


def test_hostile_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in told(overview({ENTRY.organisation: HOSTILE}))


def test_the_document_of_status_has_every_entry() -> None:
    shown, out, _ = screen(as_json=True)
    assert show(HOME, shown, lambda _: overview({})) is Exit.DONE
    found = json.loads(out.getvalue())
    (organisation,) = found["organisations"]
    assert (found["registry_head"], organisation["site"], organisation["level"]) == ("0x" + "0e" * 32, None, "anchored")
    assert organisation["devices"][0]["revoked_since"] == 1_800_000_060
    assert organisation["datasets"][0]["consent"] == {
        "policy": "0x" + "01" * 32, "epsilon": 8.0, "delta": 1e-5, "unit": "0x" + "02" * 32,
        "from": 1_800_000_000, "until": 1_831_536_000, "withdrawn_since": None,
    }  # fmt: skip
    assert organisation["datasets"][1]["consent"] is None


@pytest.mark.parametrize(
    ("message", "part"),
    [
        (WITHDRAWAL.message, "no round may include va's dataset; what is sealed stays sealed"),
        (GRANT, "up to epsilon 8.000 at delta 1e-05; this replaces the consent before it, withdrawn or not"),
        (RevokeDevice(KEY, 1, 4), "no round counts what it signs, for ever"),
        (RegisterDevice(b"\x0a" * 32, KEY, 1, 1_831_536_000, 1, b"", 4), "until 2028-01-15 08:00:00Z updates"),
        (RotateAdmin(b"\x0a" * 32, KEY, b"", 4), "only that key decides about va's devices, datasets and consents"),
    ],
)
def test_each_message_is_told_in_plain_words_with_the_key_that_signs(message: Act, part: str) -> None:
    shown, _, err = screen()
    order = replace(WITHDRAWAL, message=message)
    announcer(shown, None)([order])
    assert part in words(order)
    assert f"va's admin key 0x{ADMIN.hex()}, relayed by the simulated operator: {words(order)}" in err.getvalue()


def test_a_direct_order_says_who_sends_it() -> None:
    shown, _, err = screen()
    announcer(shown, None)([replace(WITHDRAWAL, is_direct=True)])
    assert "sent by that key itself" in err.getvalue()


@pytest.mark.parametrize("answer", ["y\n", "YES\n", " y"])
def test_a_yes_goes_on(answer: str) -> None:
    shown, _, err = screen()
    announcer(shown, io.StringIO(answer))([WITHDRAWAL, WITHDRAWAL])
    assert err.getvalue().count("[y/N]") == 1


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yess\n"])
def test_anything_else_signs_nothing(answer: str) -> None:
    shown, _, err = screen()
    with pytest.raises(InputError, match="nothing was signed: expected y"):
        announcer(shown, io.StringIO(answer))([WITHDRAWAL])
    assert "withdraw consent" in err.getvalue()


def doing(*orders: Order) -> Do:
    """Tell, then report as done."""

    def do(_: Path, request: Request) -> Sequence[Done]:
        request.announce(orders)
        return [Done(each, b"\x09" * 32) for each in orders]

    return do


def test_what_was_done_is_told_with_its_transaction() -> None:
    shown, out, err = screen()
    assert act(HOME, shown, Request("va", announcer(shown, None)), doing(WITHDRAWAL)) is Exit.DONE
    assert words(WITHDRAWAL) in err.getvalue()
    assert f"Done: {words(WITHDRAWAL)} (transaction 0x{'09' * 32})" in out.getvalue()


def test_an_interrupted_act_that_needs_nothing_more_says_so() -> None:
    shown, out, _ = screen()
    act(HOME, shown, Request("va", announcer(shown, None)), lambda _, __: [])
    assert "finished now" in out.getvalue()


def test_the_document_of_an_act_has_what_was_sent() -> None:
    shown, out, _ = screen(as_json=True)
    act(HOME, shown, Request("va", announcer(shown, None)), doing(WITHDRAWAL))
    (sent,) = json.loads(out.getvalue())["sent"]
    assert (sent["act"], sent["site"], sent["key"]) == ("ConsentWithdraw", "va", "0x" + ADMIN.hex())
    assert (sent["words"], sent["direct"], sent["transaction"]) == (words(WITHDRAWAL), False, "0x" + "09" * 32)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["withdraw"], "the following arguments are required: SITE"),
        (["withdraw", "va", "--reason", "256"], "--reason: expected a code from 0 to 255"),
        (["withdraw", "va", "--reason", "-1"], "--reason"),
        (["withdraw", "va", "--reason", "\u0661"], "--reason: expected a code from 0 to 255"),
        (["grant", "va", "--dataset", "0xab"], "--dataset: expected 64 hexadecimal digits"),
        (["revoke-device", "va", "--dataset", "ab"], "unknown argument --dataset"),
        (["grant", "va", "--reason", "1"], "unknown argument --reason"),
        (["withdrew", "va"], "invalid choice"),
    ],
)
def test_wrong_arguments_are_one_line(arguments: list[str], part: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", *arguments]) == Exit.INPUT
    err = capsys.readouterr().err
    assert part in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("verb", [["status"], *([each, "va"] for each in VERBS)], ids=lambda verb: verb[0])
def test_no_home_or_a_home_without_a_ledger_is_one_line_and_nothing_is_made(
    verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["registry", *verb, "--home", str(tmp_path)]) == Exit.INPUT
    assert "no fedchain home here" in capsys.readouterr().err
    create_home(tmp_path)
    assert main(["registry", *verb, "--home", str(tmp_path)]) == Exit.INPUT
    err = capsys.readouterr().err
    assert "this home has no ledger yet" in err
    assert err.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} <= {"home.json", "lock"}
