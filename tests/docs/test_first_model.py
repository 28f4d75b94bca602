"""docs/first-model.md: the strategy on the page moves a model as the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.own_rule import step_by
from fedchain.core.tensors import decode

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "first-model.md").read_text()


def test_the_strategy_of_the_page_moves_no_weight_by_more_than_its_limit() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - the page's own code
    base = {"w": np.array([0, 7, -7], "<i4")}
    mean = {"w": np.array([2**24, 5, -(2**24)], np.int64)}
    model, _ = step_by(names["clipped"], base, mean, None, FixedPoint())
    most = int(0.05 * 2**24)
    assert decode(model)["w"].tolist() == [most, 12, -7 - most]
