"""A comparison's goals: the ratios are of medians, and what did not run meets nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from experiments.engine.peers.goals import Goal, Verdict, goals
from experiments.engine.peers.programs import BARE_TWO, FLOWER, OURS, PEERS, PFL_TWO, PROGRAMS, Start, Starts
from experiments.engine.recorded_line import Line


def starts(rounds: Sequence[float], whole: float) -> list[Start]:
    return [Start(tuple(rounds), whole)]


def of(workload: str, column: Starts, recorded: Sequence[Line] | None = None) -> dict[str, Goal]:
    return {goal.what: goal for goal in goals({workload: column}, recorded) if goal.workload == workload}


ALL: Starts = {
    **{each.name: starts([0.3, 0.2, 9.0], 5.0) for each in PEERS},
    OURS.name: [Start((0.01, 0.02), 1.0), Start((0.02, 0.03), 3.0), Start((0.5,), 2.0)],
    FLOWER.name: starts([1.0], 20.0),
    PFL_TWO.name: starts([0.16], 4.0),
    BARE_TWO.name: starts([0.021], 1.0),
}


def test_a_round_is_compared_with_the_fastest_peers_and_with_flowers() -> None:
    found = of("W1a", ALL)
    fastest = found["a round of the fastest peer / ours"]
    assert fastest.ratio == pytest.approx(0.16 / 0.02)
    assert (fastest.bound, fastest.verdict) == (8.0, Verdict.MET)
    flower = found[f"a round of {FLOWER.name} / ours"]
    assert flower.ratio == pytest.approx(50.0)
    assert found[f"{FLOWER.name} / ours, start to end"].ratio == pytest.approx(10.0)


def test_the_convolution_is_compared_with_the_bare_loop_on_two_processes() -> None:
    goal = of("W2", ALL)[f"a round of {BARE_TWO.name} / ours"]
    assert goal.ratio == pytest.approx(1.05)
    assert goal.verdict == Verdict.MET
    slower = {**ALL, BARE_TWO.name: starts([0.018], 1.0)}
    assert of("W2", slower)[goal.what].verdict == Verdict.MISSED


def test_no_goal_is_met_by_somebody_who_did_not_run() -> None:
    for absent in (OURS.name, FLOWER.name):
        for goal in goals({"W1a": {**ALL, absent: []}}, None):
            assert goal.verdict == Verdict.NOT_MEASURED, goal
    without = {name: each for name, each in ALL.items() if name != PEERS[-1].name}
    assert of("W1a", without)["a round of the fastest peer / ours"].verdict == Verdict.NOT_MEASURED


def test_recording_is_compared_with_its_bytes_and_its_engine() -> None:
    line = Line("W2", 9.0, round=4.5, engine=3.8, evaluation=0.4, recording=0.3, drain=0.3, bound=0.2)
    found = of("W2", ALL, [line])
    assert found["recording / hashing and writing its bytes"].ratio == pytest.approx(1.5)
    assert found["recording / hashing and writing its bytes"].verdict == Verdict.MISSED
    assert found["engine and recording / engine"].verdict == Verdict.MET
    assert of("W2", ALL, [])["engine and recording / engine"].verdict == Verdict.NOT_MEASURED
    assert "engine and recording / engine" not in of("W2", ALL)


def test_a_population_has_goals_of_its_own() -> None:
    line = Line("W2, one population", 1.0, round=4.0, engine=3.8, evaluation=0.1, recording=0.1, drain=0.3, bound=0.1)
    found = {(goal.workload, goal.what): goal for goal in goals({"W2": ALL}, [line])}
    assert found["W2, one population", "engine and recording / engine"].verdict == Verdict.MET
    assert found["W2, one population", "recording / hashing and writing its bytes"].ratio == pytest.approx(1.0)
    assert found["W2", "recording / hashing and writing its bytes"].verdict == Verdict.NOT_MEASURED


def test_a_bound_may_be_reached_and_not_passed() -> None:
    assert Goal("W2", "", 1.3, 1.3, is_least=False).verdict == Verdict.MET
    assert Goal("W2", "", 1.31, 1.3, is_least=False).verdict == Verdict.MISSED
    assert Goal("W2", "", 8.0, 8.0).verdict == Verdict.MET
    assert Goal("W2", "", 7.99, 8.0).verdict == Verdict.MISSED


def test_every_program_has_a_name_of_its_own() -> None:
    assert len({each.name for each in PROGRAMS}) == len(PROGRAMS)
