"""What transactions of the contracts cost, in gas, as forge measured it over the shipped bytecode.

`make test` fails where contracts/gas/gas.json and a new measurement differ, so these figures are the contracts' own.
Beside them stand their bounds, or else the 21,000 gas that any transaction costs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from experiments.bench.measure import Row

_MEASURED: Final = Path(__file__).parents[2] / "contracts" / "gas" / "gas.json"
_ANY_TRANSACTION: Final = 21_000
_MEMBERS: Final = 100
BOUNDS: Final = {
    "seal": 45_000,
    "repeated claim of a token": 56_000,
    "repeated claim of coins": 56_000,
    "repeated claim of credits": 56_000,
    "approval by three": 75_000,
}
_MOST_PER_UPDATE: Final = 1_000


def measure() -> list[Row]:
    """Return a row for each transaction, and one for all that a round of 100 members costs per update."""
    gas = {name: int(units) for name, units in json.loads(_MEASURED.read_text()).items()}
    rows = [_row(name, units) for name, units in gas.items()]
    per_update = (gas["seal"] + gas["co-signature of the head"]) / _MEMBERS
    name = f"seal and one co-signature, an update at {_MEMBERS}"
    return [*rows, Row(name, per_update, "the bound", _MOST_PER_UPDATE, 1, unit="gas")]


def _row(name: str, units: int) -> Row:
    if name in BOUNDS:
        return Row(name, units, "the bound", BOUNDS[name], 1, unit="gas")
    return Row(name, units, "any transaction", _ANY_TRANSACTION, None, unit="gas")
