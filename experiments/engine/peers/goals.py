"""What the engine is to reach beside peers and bare loops, and whether it does."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from experiments.engine.peers.programs import BARE_TWO, FLOWER, OURS, PEERS, PFL_TWO, Start, Starts
from experiments.engine.recorded_line import Line, as_population

FASTEST: Final = {"W1a": 8.0}
"""How many times faster a round has to be than the fastest peer's."""

ROUND: Final = {"W1a": (FLOWER.name, 50.0), "W1b": (PFL_TWO.name, 1.7), "W2": (BARE_TWO.name, 1 / 1.10)}
"""How many times as long somebody's round takes, at least."""

WHOLE: Final = {"W1a": 10.0, "W1b": 8.0, "W2": 1.8}
"""How many times as long Flower takes from start to end."""

RECORDING: Final = 1.3
"""How many times as long as hashing and writing its bytes the recording of a round may take."""

RECORDED: Final = {"W2": 1.10}
"""How many times as long as its own engine a recorded round may take, without the evaluation of its model."""


class Verdict(StrEnum):
    """What became of a goal."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Goal:
    """A ratio and the least or the most that it may be; no ratio where one of the two did not run."""

    workload: str
    what: str
    ratio: float | None
    bound: float
    is_least: bool = True

    @property
    def verdict(self) -> Verdict:
        """Whether the ratio is on the right side."""
        if self.ratio is None:
            return Verdict.NOT_MEASURED
        is_met = self.ratio >= self.bound if self.is_least else self.ratio <= self.bound
        return Verdict.MET if is_met else Verdict.MISSED


def goals(columns: Mapping[str, Starts], recorded: Sequence[Line] | None) -> list[Goal]:
    """Return the goals of the workloads that were measured; those of recording only where that was asked for."""
    found = [goal for name, starts in columns.items() for goal in _of(name, starts)]
    if recorded is not None:
        lines = {line.name: line for line in recorded}
        manners = [each for name in columns for each in (name, as_population(name))]
        found += [goal for name in manners for goal in _of_recording(name, lines.get(name))]
    return found


def round_of(starts: Sequence[Start]) -> float | None:
    """Return the median of the rounds of all starts, in seconds."""
    rounds = [seconds for start in starts for seconds in start.rounds]
    return statistics.median(rounds) if rounds else None


def whole_of(starts: Sequence[Start]) -> float | None:
    """Return the median of the starts from beginning to end, in seconds."""
    return statistics.median(start.whole for start in starts) if starts else None


def ratio(one: float | None, other: float | None) -> float | None:
    """Return one over the other where there are both."""
    return None if one is None or not other else one / other


def _of(name: str, starts: Starts) -> list[Goal]:
    def of(figure: Callable[[Sequence[Start]], float | None], who: str) -> float | None:
        return ratio(figure(starts.get(who, ())), figure(starts.get(OURS.name, ())))

    found: list[Goal] = []
    if name in FASTEST:
        peers = [of(round_of, each.name) for each in PEERS]
        # a peer that did not run could have been the fastest
        fastest = None if None in peers else min(each for each in peers if each is not None)
        found.append(Goal(name, "a round of the fastest peer / ours", fastest, FASTEST[name]))
    if name in ROUND:
        who, bound = ROUND[name]
        found.append(Goal(name, f"a round of {who} / ours", of(round_of, who), bound))
    if name in WHOLE:
        whole = of(whole_of, FLOWER.name)
        found.append(Goal(name, f"{FLOWER.name} / ours, start to end", whole, WHOLE[name]))
    return found


def _of_recording(name: str, line: Line | None) -> list[Goal]:
    whole, engine = (None, None) if line is None else (line.engine + line.recording, line.engine)
    recording = None if line is None else line.recording / line.bound
    found = [Goal(name, "recording / hashing and writing its bytes", recording, RECORDING, is_least=False)]
    if (bound := RECORDED.get(name.partition(",")[0])) is not None:
        found.append(Goal(name, "engine and recording / engine", ratio(whole, engine), bound, is_least=False))
    return found
