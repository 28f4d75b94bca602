"""The metrics of a run by round, and what was spent for them, in a file beside its journal: a line of JSON a round.

It is no record: what is lost or torn is computed anew from the journal and the stored models, so lines are not forced
to the disk. A line names its model, and one of another model counts as lost.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from fedchain.adapters.files import PRIVATE_FILE, explained

Metrics: TypeAlias = dict[str, dict[str, float]]
"""By client and "overall", then by name."""

Spent: TypeAlias = dict[str, int]
"""Micro-epsilon by client, from the run's first round on."""

OVERALL: Final = "overall"


@dataclass(frozen=True, slots=True)
class RoundMetrics:
    """What is known of the rounds of one run: `by_round` and `spent` hold what was read and added."""

    path: Path
    by_round: dict[int, Metrics] = field(default_factory=dict[int, Metrics])
    spent: dict[int, Spent] = field(default_factory=dict[int, Spent])

    @classmethod
    def read(cls, path: Path, models: Mapping[int, str] | None = None) -> RoundMetrics:
        """Return what the file says of the rounds that gave `models` (CIDs), of all rounds if that is None.

        Raises:
            InputError: if the file is there and may not be read.
        """
        with explained(path):
            lines = path.read_bytes().splitlines() if path.exists() else []
        found = cls(path)
        for line in lines:
            round_, cid, metrics, spent = _parsed(line)
            if round_ and (models is None or models.get(round_) == cid):
                found.by_round[round_], found.spent[round_] = metrics, spent
        return found

    def add(self, round_: int, cid: str, metrics: Metrics, spent: Spent) -> None:
        """Keep a round's metrics; what is no finite number is left out, as where a metric is not defined.

        Raises:
            InputError: if the file cannot be written.
        """
        plain = {who: {n: each for n, each in some.items() if math.isfinite(each)} for who, some in metrics.items()}
        self.by_round[round_], self.spent[round_] = plain, dict(spent)
        line = json.dumps({"round": round_, "model": cid, "metrics": plain, "spent": spent}, separators=(",", ":"))
        with explained(self.path):
            if not self.path.exists():
                self.path.touch(PRIVATE_FILE)
            with self.path.open("ab") as file:
                file.write(b"\n" + line.encode())  # a torn line before it ends here

    def values(self, metric: str) -> dict[int, float]:
        """Return one metric over all test rows, by round."""
        found = {round_: metrics.get(OVERALL, {}).get(metric) for round_, metrics in self.by_round.items()}
        return {round_: value for round_, value in found.items() if value is not None}


def _parsed(line: bytes) -> tuple[int, str, Metrics, Spent]:
    """Return round, CID, metrics and what was spent; round 0 for a torn line."""
    try:
        raw = json.loads(line)
        metrics = {str(who): {str(n): float(each) for n, each in some.items()} for who, some in raw["metrics"].items()}
        spent = {str(who): int(each) for who, each in raw["spent"].items()}
        return int(raw["round"]), str(raw["model"]), metrics, spent
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, "", {}, {}
