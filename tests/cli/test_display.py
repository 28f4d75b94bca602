from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from fedchain.cli.display import PlainDisplay, sentence
from fedchain.cli.live import Board, live
from fedchain.core.messages import UNBOUNDED
from fedchain.ports.watcher import (
    Evaluated,
    Event,
    Notice,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RoundOpened,
    RoundSealed,
    RunEnded,
    RunStarted,
    UpdateAdmitted,
)
from tests.cli.samples import CID, HOSTILE, RUN, screen

STARTED = RunStarted(RUN, "fe" * 32, "heart", 5, 1, False, ("cleveland", "hungary"), "{}")
EVENTS: list[tuple[Event, str]] = [
    (STARTED, f"run 0x{RUN}: starts: experiment heart, 5 rounds, 2 clients (cleveland, hungary)"),
    (RoundOpened(1, 1), "round 1/5: training"),
    (RoundOpened(1, 2), "round 1/5: training (attempt 2)"),
    (
        UpdateAdmitted(1, "cleveland", 1_500_000, 2_500_000),
        "round 1/5: cleveland admitted, epsilon 1.500 in this run, 2.500 over the dataset's lifetime",
    ),
    (
        UpdateAdmitted(1, "ab" * 20, UNBOUNDED, UNBOUNDED),
        "round 1/5: 0xabab..abab admitted, epsilon unbounded in this run, unbounded over the dataset's lifetime",
    ),
    (ReplyRejected(1, "node 7", "missing tensor"), "round 1/5: node 7 rejected: missing tensor"),
    (RoundEnded(1, CID, "12" * 32, ""), f"round 1/5: new model {CID}"),
    (RoundEnded(1, CID, "12" * 32, "too few clients"), "round 1/5: aborted: too few clients"),
    (RoundSealed(1, "34" * 32, "56" * 32), "round 1/5: sealed, ledger head 0x" + "34" * 32),
    (ReceiptSigned(1, "hungary"), "round 1/5: hungary found its update in the sealed round and co-signed"),
    (
        Evaluated(1, {"overall": {"auroc": 0.87125, "accuracy": 0.8, "rows": 120.0}}),
        "round 1/5: on held-out splits (simulation): accuracy 0.800, auroc 0.871",
    ),
    (Notice("tracking failed"), "tracking failed"),
    (RunEnded(RUN), f"run 0x{RUN}: ended"),
]


@pytest.mark.parametrize(("event", "words"), EVENTS, ids=lambda each: type(each).__name__)
def test_every_event_is_one_sentence(event: Event, words: str) -> None:
    assert sentence(event, 5) == words


def test_the_link_that_closes_a_run_is_no_round() -> None:
    assert sentence(RoundSealed(6, "34" * 32, "56" * 32), 5).startswith("link 6: sealed")
    assert "link 6: sealed" in picture([STARTED, RoundSealed(6, "34" * 32, "56" * 32)])


def test_a_resumed_run_says_where_it_goes_on() -> None:
    event = RunStarted(RUN, "fe" * 32, "heart", 5, 3, True, ("cleveland",), "{}")
    assert "resumes the interrupted run at round 3" in sentence(event, 5)


def test_the_plain_display_writes_one_line_an_event() -> None:
    shown, out, err = screen()
    display = PlainDisplay(shown)
    for event, _ in EVENTS:
        display(event)
    assert err.getvalue().splitlines() == [words for _, words in EVENTS]
    assert out.getvalue() == ""


def test_hostile_names_and_reasons_stay_on_their_line() -> None:
    shown, _, err = screen()
    PlainDisplay(shown)(ReplyRejected(1, HOSTILE, HOSTILE))
    assert err.getvalue().count("\n") == 1
    assert "\x1b" not in err.getvalue()
    assert "\u202e" not in err.getvalue()


def picture(events: list[Event]) -> str:
    board = Board()
    for event in events:
        board.take(event)
    console = Console(file=io.StringIO(), width=110, record=True)
    console.print(board.show())
    return console.export_text()


def test_the_picture_has_progress_hospitals_and_the_state_of_sealing() -> None:
    text = picture([event for event, _ in EVENTS[:-1]])
    assert "1 of 5 rounds" in text
    assert "sealed, ledger head 0x3434" in text
    assert "auroc 0.871" in text
    assert "tracking failed" in text
    (cleveland,) = [line for line in text.splitlines() if line.startswith("cleveland")]
    assert cleveland.split() == ["cleveland", "admitted", "1.500", "2.500"]
    (hungary,) = [line for line in text.splitlines() if line.startswith("hungary")]
    assert hungary.split() == ["hungary", "training", "round", "1/5"]
    assert "rejected: missing tensor" in text


def test_the_picture_shows_hostile_names_as_code_points() -> None:
    text = picture([STARTED, ReplyRejected(1, HOSTILE, HOSTILE)])
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_the_picture_of_a_resumed_run_starts_where_it_stopped() -> None:
    assert "2 of 5 rounds" in picture([RunStarted(RUN, "fe" * 32, "heart", 5, 3, True, ("a",), "{}")])


def test_a_terminal_sees_the_last_picture_and_events_may_come_from_threads() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=110)
    with live(console) as watch:
        watch(STARTED)
        threads = [
            threading.Thread(target=watch, args=(UpdateAdmitted(round_, f"clinic{name}", 1, 1),))
            for name in range(4)
            for round_ in range(1, 5)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        watch(RunEnded(RUN))
    assert isinstance(console.file, io.StringIO)
    last = console.file.getvalue().rpartition("ended")[2]
    assert all(f"clinic{name}" in last for name in range(4))
