"""What a recorded run of a workload took."""

from __future__ import annotations

from dataclasses import dataclass


def as_population(name: str) -> str:
    """Return what a workload is called whose clients are one site's."""
    return f"{name}, one population"


@dataclass(frozen=True, slots=True)
class Line:
    """One workload, in seconds.

    `start` is before the first round, `evaluation` what the metrics of a round's model take, `drain` what is left to
    seal and to sign after the last round, `bound` hashing and writing a round's updates.
    """

    name: str
    start: float
    round: float
    engine: float
    evaluation: float
    drain: float
    bound: float

    @property
    def recording(self) -> float:
        """Seconds of a round beside the engine and the evaluation of its model, which no record is made of."""
        return self.round - self.engine - self.evaluation
