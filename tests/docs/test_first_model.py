"""docs/first-model.md: the strategy on the page moves a model as the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

import fedchain
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.own_rule import step_by
from fedchain.core.tensors import decode

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "first-model.md").read_text()


def code(title: str) -> str:
    """The Python of a section of the page."""
    (text,) = re.findall(rf"^## {title}\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def test_the_strategy_of_the_page_moves_no_weight_by_more_than_its_limit() -> None:
    text = code("The strategy")
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - the page's own code
    base = {"w": np.array([0, 7, -7], "<i4")}
    mean = {"w": np.array([2**24, 5, -(2**24)], np.int64)}
    model, _ = step_by(names["clipped"], base, mean, None, FixedPoint())
    most = int(0.05 * 2**24)
    assert decode(model)["w"].tolist() == [most, 12, -7 - most]


def test_the_population_of_the_page_is_one_site_of_a_million_clients() -> None:
    making, training = code("A population").strip().splitlines()
    names: dict[str, Any] = {"fedchain": fedchain, "rows_of": lambda client: (np.full((128, 2), client), np.ones(128))}
    exec(making, names)  # noqa: S102 - the page's own code
    assert names["plant"].card.nominal_size == 128_000_000
    assert training.startswith("result = fedchain.federate(Net, [plant], ")
