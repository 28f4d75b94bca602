"""The gas that docs/gas.md states is the gas of the snapshot, and the snapshot keeps the promised bounds."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SNAPSHOT: dict[str, str] = json.loads((ROOT / "contracts" / "gas" / "gas.json").read_text("utf-8"))
PAGE = (ROOT / "docs" / "gas.md").read_text("utf-8")


def test_the_page_states_the_snapshot() -> None:
    stated = dict(re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", PAGE, re.MULTILINE))
    assert {name: int(gas.replace(",", "")) for name, gas in stated.items()} == {
        name: int(gas) for name, gas in SNAPSHOT.items()
    }


@pytest.mark.parametrize(
    ("name", "bound"),
    [
        ("seal", 45_000),
        ("repeated claim of a token", 56_000),
        ("repeated claim of coins", 56_000),
        ("repeated claim of credits", 56_000),
        ("approval by three", 75_000),
    ],
)
def test_the_snapshot_keeps_the_bound(name: str, bound: int) -> None:
    assert int(SNAPSHOT[name]) <= bound


def test_an_update_of_a_hundred_costs_at_most_a_thousand_with_its_seal_and_a_co_signature() -> None:
    assert (int(SNAPSHOT["seal"]) + int(SNAPSHOT["co-signature of the head"])) / 100 <= 1_000
