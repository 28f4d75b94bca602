"""Elapsed time that passes only while somebody waits, and what happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class ManualStopwatch:
    """Nobody waits in truth. Each event of `planned` happens once, in the first wait that ends after its moment."""

    time: float = 0.0
    planned: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    meanwhile: Callable[[], object] = lambda: None

    def now(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds
        while self.planned and self.planned[0][0] <= self.time:
            self.planned.pop(0)[1]()
        self.meanwhile()

    def plan(self, in_seconds: float, *events: Callable[[], object]) -> None:
        self.planned += [(self.time + in_seconds, event) for event in events]
        self.planned.sort(key=lambda each: each[0])
