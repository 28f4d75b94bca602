"""Strategies of one's own by their files: the very code of the record is used, any other is refused by name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fedchain.adapters.identity import code_digest
from fedchain.adapters.targets import sources_of
from fedchain.core.errors import InputError
from fedchain.core.own_rule import OwnStrategy
from fedchain.wiring.own_rules import LoadedRules, OwnRule

NAME = "rules_of_a_test"
TEXT = """\
def scaled(base, mean, state, share=1.0):
    if share == 0:
        raise ZeroDivisionError("no share")
    return {name: base[name] + (share * each).astype(int) for name, each in mean.items()}, {}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / f"{NAME}.py").write_text(TEXT)
    yield tmp_path
    sys.modules.pop(NAME, None)
    sys.path.remove(str(tmp_path))


def test_a_rule_is_called_with_the_options_of_its_run(folder: Path) -> None:
    loaded = OwnRule.load(f"{NAME}:scaled", folder)
    rule = LoadedRules([loaded])(OwnStrategy(loaded.target, {"share": "0.5"}, loaded.sources))
    assert rule is not None
    model, state = rule({"w": np.array([1])}, {"w": np.array([8])}, {})
    assert (model["w"].tolist(), state) == ([5], {})


def test_what_fails_in_it_is_one_line_with_its_place(folder: Path) -> None:
    rule = OwnRule.load(f"{NAME}:scaled", folder).with_options({"share": "0"})
    with pytest.raises(InputError, match=rf"scaled failed with ZeroDivisionError: no share \({NAME}.py, line 3\)"):
        rule({}, {}, {})


def test_the_same_name_in_other_files_is_not_the_recorded_strategy(folder: Path) -> None:
    loaded = OwnRule.load(f"{NAME}:scaled", folder)
    rules = LoadedRules([loaded])
    assert rules(OwnStrategy(loaded.target, {}, b"\x01" * 32)) is None
    with pytest.raises(InputError, match=f"files of digest 0x{'01' * 32}, got 0x{loaded.sources.hex()}"):
        rules.check_used()
    assert rules(OwnStrategy(loaded.target, {}, loaded.sources)) is not None
    rules.check_used()


def test_a_strategy_that_no_run_names_is_refused(folder: Path) -> None:
    rules = LoadedRules([OwnRule.load(f"{NAME}:scaled", folder)])
    with pytest.raises(InputError, match="expected a run under this strategy, got none in the record"):
        rules.check_used()


def test_its_files_are_in_the_digest_of_the_code_and_have_one_of_their_own(folder: Path) -> None:
    loaded = OwnRule.load(f"{NAME}:scaled", folder)
    own = sources_of(loaded.step)
    assert list(own) == [f"{NAME}.py"]
    assert code_digest(own=own) != code_digest()
    (folder / f"{NAME}.py").write_text(TEXT + "# another\n")
    assert OwnRule.of(loaded.target, loaded.step).sources != loaded.sources
