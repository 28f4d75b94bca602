"""`fedchain model` tells what is signed, by whom, before it is signed, and ends with 4 while a vote is missing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.cli.exits import Exit
from fedchain.cli.model import cast, register, status
from fedchain.core.lineage import Taint
from fedchain.workflow.signing import Acted, Announce, Signing, Tally
from fedchain.workflow.summary import ModelSummary
from tests.cli.samples import screen

SIGNING = Signing("reviewer clinical (0xaa)", "approve version 0xbb, as clinical reviewer, on no report")
SENDING = Signing("anyone", "approve version 0xbb with 2 votes")
TAINT = Taint("d1" * 32, 1_800_000_000)
VERSION = ModelSummary(
    version="01" * 32,
    model="02" * 32,
    round_hash="03" * 32,
    organisation="04" * 32,
    parents=("05" * 32,),
    state="in review",
    is_released=False,
    approved_until=0,
    missing="1 of 2 votes; missing: quality",
    taints=(),
    open_taints=(),
)
RELEASED = replace(VERSION, state="approved", is_released=True, approved_until=1_900_000_000, missing="")
TAINTED = replace(VERSION, state="tainted", missing="", taints=(TAINT,), open_taints=(TAINT,))


def looked(*found: ModelSummary, model: str = "", as_json: bool = False) -> tuple[Exit, str]:
    def look(home: Path, wanted: str) -> Sequence[ModelSummary]:
        assert (home, wanted) == (Path("home"), model)
        return found

    shown, out, _ = screen(as_json=as_json)
    return status(Path("home"), model, shown, look), out.getvalue()


def test_what_is_signed_is_told_before_it_is_signed() -> None:
    shown, out, err = screen()

    def do(announce: Announce) -> Sequence[Acted]:
        announce(SIGNING)
        assert f"about to sign and send, as {SIGNING.who}: {SIGNING.sentence}" in err.getvalue()
        assert out.getvalue() == ""
        return [Acted(SIGNING, b"\x07" * 32)]

    assert register(shown, do) is Exit.DONE
    assert SIGNING.sentence in out.getvalue()
    assert "transaction 0x" + "07" * 32 in out.getvalue()


def test_a_vote_that_waits_for_others_ends_with_4_and_says_what_is_missing() -> None:
    shown, out, _ = screen()
    waits = Tally((Acted(SIGNING, b""),), "1 of 2 votes; missing: quality")
    assert cast(shown, lambda _: waits) is Exit.POLICY
    assert "signed and kept" in out.getvalue()
    assert "missing: quality" in out.getvalue()
    enough = Tally((Acted(SIGNING, b""), Acted(SENDING, b"\x07" * 32)))
    assert cast(screen()[0], lambda _: enough) is Exit.DONE


def test_what_is_done_already_is_said_to_be() -> None:
    shown, out, _ = screen()
    assert cast(shown, lambda _: Tally(())) is Exit.DONE
    assert "Nothing to do" in out.getvalue()


def test_the_document_has_every_step() -> None:
    shown, out, _ = screen(as_json=True)
    cast(shown, lambda _: Tally((Acted(SIGNING, b""), Acted(SENDING, b"\x07" * 32)), "another"))
    assert json.loads(out.getvalue()) == {
        "done": [
            {"as": SIGNING.who, "words": SIGNING.sentence, "transaction": None},
            {"as": SENDING.who, "words": SENDING.sentence, "transaction": "0x" + "07" * 32},
        ],
        "missing": "another",
        "exit": 4,
    }


@pytest.mark.parametrize(("found", "code"), [(VERSION, 4), (RELEASED, 0), (TAINTED, 4)], ids=["open", "out", "tainted"])
def test_asking_for_one_version_ends_with_4_unless_it_is_released(found: ModelSummary, code: int) -> None:
    assert looked(found, model="m")[0] == code
    assert looked(found)[0] == 0, "all versions are only shown"


def test_a_version_is_shown_with_what_is_missing_and_what_taints_it() -> None:
    assert "No version yet" in looked()[1]
    assert "missing: quality" in looked(VERSION)[1]
    assert "approved; released, until 2030" in looked(RELEASED)[1]
    tainted = looked(TAINTED)[1]
    assert "not released" in tainted
    assert "withdrawn from 2027" in tainted
    assert "disposed" not in tainted
    assert "disposed" in looked(replace(TAINTED, open_taints=()))[1]


def test_the_document_of_a_version_has_its_taints() -> None:
    _, text = looked(TAINTED, RELEASED, as_json=True)
    first, second = json.loads(text)["versions"]
    assert first["taints"] == [{"dataset": "0x" + "d1" * 32, "since": 1_800_000_000, "open": True}]
    assert (first["released"], second["released"], second["approved_until"]) == (False, True, 1_900_000_000)
