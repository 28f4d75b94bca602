"""`fedchain erase` says what it destroyed and what that does not undo, and refuses bad input before anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedchain.cli.erase import UNDONE, show
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core.erasure import DeletionReceipt, ErasedPayload, ErasureOrder, SignedDeletion
from fedchain.workflow.erasing import Erased, EraseRequest
from tests.cli.samples import CID, RUN, screen

ORDER = ErasureOrder(bytes.fromhex(RUN), 2, (ErasedPayload(CID, b"\xc1" * 20),), 7, 1_800_000_000)
RECEIPT = DeletionReceipt(b"\xfe" * 32, ORDER.run, 2, b"\x01" * 32, b"\x02" * 32, 7, ORDER.at)
ERASED = Erased((ORDER,), (SignedDeletion(RECEIPT, b"\xc1" * 20, b"\x03" * 65),))
REQUEST = EraseRequest(RUN, (2,), (), 7)


def test_it_tells_what_is_gone_and_what_is_not() -> None:
    shown, out, _ = screen()
    assert show(shown, Path("home"), REQUEST, lambda _home, _request: ERASED) is Exit.DONE
    text = out.getvalue()
    assert f"Round 2 of run 0x{RUN}: 1 updates erased" in text
    assert f"{CID} of client 0x{'c1' * 20}" in text
    assert all(line in text for line in UNDONE)
    assert "what the model has learned" in text


def test_the_document_has_every_receipt() -> None:
    shown, out, _ = screen(as_json=True)
    assert show(shown, Path("home"), REQUEST, lambda _home, _request: ERASED) is Exit.DONE
    found = json.loads(out.getvalue())
    assert found["erased"] == [{"run": "0x" + RUN, "round": 2, "client": "0x" + "c1" * 20, "payload_cid": CID}]
    assert found["receipts"][0]["signature"] == "0x" + "03" * 65
    assert found["not_undone"] == list(UNDONE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["erase"], "RUN"),
        (["erase", RUN], "--round"),
        (["erase", RUN, "--round", "two"], "--round: expected a number"),
        (["erase", RUN, "--round", "1", "--reason", "256"], "--reason: expected a number up to 255"),
        (["erase", RUN, "--round", "1"], "no fedchain home here"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, *(["--home", str(tmp_path / "none")] if len(arguments) > 1 else [])]) == Exit.INPUT
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.out == ""
