"""docs/ledgers.md says every setting of a JSON-RPC node with its default, and that its runbooks were not run."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from fedchain.adapters.evm.remote import RpcSettings

TEXT = (Path(__file__).parents[2] / "docs" / "ledgers.md").read_text()


def test_every_setting_is_documented_with_its_default() -> None:
    section = TEXT[TEXT.index("### Settings") : TEXT.index("### What it promises")]
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| ([^|]*) \|", section, re.MULTILINE)
    expected = [
        (each.name, "none" if each.default is dataclasses.MISSING else f"`{each.default:g}`")
        for each in dataclasses.fields(RpcSettings)
    ]
    assert rows == expected


def test_every_runbook_says_that_it_was_not_run() -> None:
    runbooks = re.findall(r"^### Runbook: .*\n\n(.*)", TEXT, re.MULTILINE)
    assert len(runbooks) == 2
    assert all(first.startswith("**Not run here.**") for first in runbooks)
