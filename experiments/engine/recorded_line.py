"""What a recorded run of a workload took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """One workload: seconds before the first round, a round, its engine, and hashing and writing its updates."""

    name: str
    start: float
    round: float
    engine: float
    bound: float

    @property
    def recording(self) -> float:
        """Seconds of a round beside the engine."""
        return self.round - self.engine
