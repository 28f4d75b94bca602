"""A comparison's tables: one line a program, ratios to the engine on workers, gaps where something did not run."""

from __future__ import annotations

import pytest

from experiments.engine.peers.goals import goals
from experiments.engine.peers.page import MARKS, PAGE, between_marks, text_of
from experiments.engine.peers.programs import FLOWER, OURS, PFL_TWO, Start
from experiments.engine.recorded_line import Line

COLUMNS = {
    "W1a": {OURS.name: [Start((0.02, 0.02), 2.0)], FLOWER.name: [Start((1.0, 1.2), 24.0)], PFL_TWO.name: []},
    "W2": {OURS.name: [Start((2.5,), 8.0)], FLOWER.name: [Start((3.0,), 20.0)]},
}
LINE = Line("W1a", start=30.0, round=0.5, engine=0.1, evaluation=0.1, recording=0.3, drain=0.3, bound=0.2)


def rows(text: str, who: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.split("|")[2:-1]] for line in text.splitlines() if line.startswith(f"| {who}")
    ]


def test_rounds_and_wholes_stand_beside_their_ratios() -> None:
    text = text_of(COLUMNS, None, goals(COLUMNS, None))
    assert rows(text, OURS.name) == [["20.0", "1.00", "2500.0", "1.00"], ["2.0", "1.00", "8.0", "1.00"]]
    assert rows(text, FLOWER.name) == [["1100.0", "55.00", "3000.0", "1.20"], ["24.0", "12.00", "20.0", "2.50"]]
    assert rows(text, PFL_TWO.name)[0] == ["did not run", "-", "did not run", "-"]
    assert "recording" not in text
    assert "fluke" not in text  # nobody asked for it


def test_a_recorded_run_is_a_line_of_its_own() -> None:
    text = text_of(COLUMNS, [LINE], goals(COLUMNS, [LINE]))
    assert rows(text, "fedchain, recorded") == [["500.0", "25.00", "did not run", "-"]]
    assert ["0.500", "0.100", "0.100", "0.300", "0.200", "0.300", "1.50", "4.00"] in rows(text, "W1a")


def test_every_goal_says_what_became_of_it() -> None:
    found = goals(COLUMNS, [LINE])
    lines = [line for line in text_of(COLUMNS, [LINE], found).splitlines() if line.endswith((" met |", "ed |"))]
    assert len(lines) == len(found)
    assert "| W1a | a round of Flower 1.41 (Ray) / ours | at least 50.00 | 55.00 | met |" in lines
    assert "| W1a | recording / hashing and writing its bytes | at most 1.30 | 1.50 | missed |" in lines
    assert "| W1a | a round of the fastest peer / ours | at least 8.00 | - | not measured |" in lines


def test_the_docs_have_one_place_for_the_tables() -> None:
    page = PAGE.read_text()
    written = between_marks(page, "here")
    assert written.startswith(page.split(MARKS[0])[0])
    assert written.endswith(page.split(MARKS[1])[1])
    assert f"{MARKS[0]}\n\nhere\n\n{MARKS[1]}" in written
    with pytest.raises(ValueError, match="expected 2"):
        between_marks("no marks", "here")
