from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.cli.exits import Exit
from fedchain.cli.runs import full_run_id, show_diff, show_runs
from fedchain.core.errors import InputError
from fedchain.core.messages import UNBOUNDED
from fedchain.workflow.summary import RunRow
from tests.cli.samples import CID, HOSTILE, OTHER_RUN, RUN, row, screen

HOME = Path("home")


def listed(*rows: RunRow, as_json: bool = False) -> str:
    shown, out, _ = screen(as_json=as_json)
    assert show_runs(HOME, shown, lambda _: rows) == Exit.DONE
    return out.getvalue()


def compared(a: str, b: str, *rows: RunRow, as_json: bool = False) -> str:
    shown, out, _ = screen(as_json=as_json)
    assert show_diff(HOME, (a, b), shown, lambda _: rows) == Exit.DONE
    return out.getvalue()


def test_an_empty_home_says_how_to_start() -> None:
    assert listed() == "No runs yet. Start one: fedchain run experiment=heart\n"
    assert json.loads(listed(as_json=True))["runs"] == []


def test_a_run_is_one_line_with_its_state_and_progress() -> None:
    text = listed(row(state="unfinished", rounds_ended=2))
    assert "self-reported" in text
    (line,) = [line for line in text.splitlines() if "0xabab..abab" in line]
    assert line.split() == ["0xabab..abab", "heart", "unfinished", "2/5", CID, "2027-01-15", "08:00:00Z"]


def test_the_newest_run_comes_first() -> None:
    text = listed(row(RUN, created_at=100), row(OTHER_RUN, created_at=200))
    assert text.index("0xcdcd..") < text.index("0xabab..")


def test_the_document_has_whole_ids_and_the_configuration() -> None:
    (found,) = json.loads(listed(row(), as_json=True))["runs"]
    assert found["run"] == "0x" + RUN
    assert found["config"] == {"privacy": {"epsilon": "8.0"}, "rounds": 5, "seed": 1}


def test_a_damaged_run_without_configuration_is_listed() -> None:
    assert "damaged" in listed(row(state="damaged", config=""))
    (found,) = json.loads(listed(row(state="damaged", config=""), as_json=True))["runs"]
    assert found["config"] is None


def test_two_runs_are_compared_key_by_key() -> None:
    a = row(RUN)
    b = row(
        OTHER_RUN,
        config='{"extra":true,"privacy":{"epsilon":"3.0"},"rounds":5,"seed":1}',
        rounds_ended=4,
        state="unfinished",
    )
    found = json.loads(compared("ab", "0xcd", a, b, as_json=True))
    assert found["config"] == {"privacy.epsilon": {"a": "8.0", "b": "3.0"}, "extra": {"a": None, "b": True}}
    assert found["results"] == {"state": {"a": "finished", "b": "unfinished"}, "rounds_ended": {"a": 5, "b": 4}}
    text = compared("ab", "cd", a, b)
    assert "privacy.epsilon" in text
    assert "rounds_ended" in text
    assert "seed" not in text


def test_metrics_epsilon_and_the_models_digest_are_compared() -> None:
    a = row(
        RUN,
        model_digest="0x12",
        metrics={"overall": {"auroc": 0.8765432109, "rows": 9.0}},
        micro_epsilon={"north": 1_500_000, "east": UNBOUNDED},
    )
    b = replace(a, run=OTHER_RUN, model_digest="0x34", metrics={"overall": {"auroc": 0.9, "rows": 9.0}})
    b = replace(b, micro_epsilon={"north": 2_000_000, "east": UNBOUNDED}, ending="stopped early after round 5: enough")
    found = json.loads(compared("ab", "cd", a, b, as_json=True))["results"]
    assert found == {
        "ending": {"a": "", "b": "stopped early after round 5: enough"},
        "model_digest": {"a": "0x12", "b": "0x34"},
        "metrics.overall.auroc": {"a": 0.8765432109, "b": 0.9},
        "epsilon.north": {"a": 1.5, "b": 2.0},
    }
    text = compared("ab", "cd", a, b)
    assert re.search(r"metrics.overall.auroc +0.876543 +0.9\b", text)
    assert "Metrics are of the newest model on test rows (simulation)" in text


def test_a_run_that_ended_early_says_why_below_the_list() -> None:
    text = listed(row(ending="stopped early after round 3: no better auroc for 2 rounds", rounds_ended=3))
    assert "0xabab..abab: stopped early after round 3: no better auroc for 2 rounds" in text


def test_equal_runs_have_no_difference() -> None:
    text = compared(RUN, OTHER_RUN, row(RUN), row(OTHER_RUN))
    assert text == "Configuration: no difference\nResults: no difference\n"


@pytest.mark.parametrize("name", [RUN, "0x" + RUN, "ab", "0xab", "AB"])
def test_a_beginning_that_fits_one_run_names_it(name: str) -> None:
    assert full_run_id(name, lambda: [row(RUN), row(OTHER_RUN)]) == "0x" + RUN


@pytest.mark.parametrize("name", ["", "0x", "ef", "xyz", HOSTILE])
def test_a_beginning_that_fits_none_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="run: expected a run of this home, got "):
        full_run_id(name, lambda: [row(RUN), row(OTHER_RUN)])


def test_a_beginning_that_fits_several_is_refused_with_them() -> None:
    rows = [row("ab" * 32), row("ac" * 32)]
    with pytest.raises(InputError, match=r"expected the beginning of one run, got 'a', which fits 2: 0xabab.*0xacac"):
        full_run_id("a", lambda: rows)


def test_hostile_strings_cannot_steer_the_terminal() -> None:
    text = listed(row(experiment=HOSTILE, state=HOSTILE, model_cid=HOSTILE))
    text += compared("ab", "cd", row(config=json.dumps({"key": HOSTILE, HOSTILE: 1})), row(OTHER_RUN, config="{}"))
    assert "\x1b" not in text
    assert "\u202e" not in text
