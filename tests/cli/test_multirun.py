"""The overrides of a sweep become its jobs by Hydra's own syntax, and what is wrong with them is one line each."""

from __future__ import annotations

import pytest

from fedchain.cli import multirun
from fedchain.cli.multirun import compose_sweep
from fedchain.core.errors import InputError


def lines_of(*overrides: str) -> list[str]:
    with pytest.raises((ExceptionGroup, InputError)) as caught:
        compose_sweep(overrides)
    error = caught.value
    return [str(each) for each in error.exceptions] if isinstance(error, ExceptionGroup) else [str(error)]


def test_the_last_override_varies_fastest_and_fixed_ones_are_no_part_of_a_jobs_name() -> None:
    jobs = compose_sweep(["experiment=heart", "strategy.learning_rate=0.05,0.1", "seed=1,2"])
    assert [each.varied for each in jobs] == [
        ("strategy.learning_rate=0.05", "seed=1"),
        ("strategy.learning_rate=0.05", "seed=2"),
        ("strategy.learning_rate=0.1", "seed=1"),
        ("strategy.learning_rate=0.1", "seed=2"),
    ]
    assert [(each.config.strategy.learning_rate, each.config.seed) for each in jobs][2] == (0.1, 1)
    assert jobs[0].overrides == ("experiment=heart", "strategy.learning_rate=0.05", "seed=1")


@pytest.mark.parametrize(
    ("override", "values"),
    [
        ("seed=range(1,4)", ["1", "2", "3"]),
        ("seed=choice(4,2)", ["4", "2"]),
        ("seed=sort(4,2)", ["2", "4"]),
        ("seed=7", []),
    ],
)
def test_hydras_words_for_many_values(override: str, values: list[str]) -> None:
    expected = [[f"seed={value}"] for value in values] or [[]]
    assert [list(each.varied) for each in compose_sweep([override])] == expected


def test_a_glob_takes_the_options_of_a_group() -> None:
    jobs = compose_sweep(["rewards=off", "privacy=glob(d*)"])
    assert [each.config.privacy.mode for each in jobs] == ["dp"]
    assert lines_of("privacy=glob(z*)") == ["override privacy=glob(z*): expected at least one value, got none"]


def test_what_is_wrong_is_told_once_for_all_jobs() -> None:
    assert lines_of("seed=1,2", "privacy.epsilonn=3,4") == [
        "unknown key privacy.epsilonn; did you mean privacy.epsilon?"
    ]
    assert lines_of("seed=1,2", "a=[1") == [
        "override: expected key=value, got 'a=[1'; write key=value, such as experiment=heart or privacy.epsilon=3"
    ]
    (line,) = lines_of("seed=interval(1,2)")
    assert line.startswith("override seed=interval(1,2): got Can only enumerate CHOICE and RANGE sweeps")


def test_two_jobs_with_one_configuration_are_refused() -> None:
    (line,) = lines_of("strategy.learning_rate=0.1,0.10")
    assert line == (
        "two jobs of a sweep have one configuration: expected each configuration once, "
        "got strategy.learning_rate=0.1 and strategy.learning_rate=0.1"
    )


def test_a_sweep_that_nobody_could_mean_is_refused_before_it_is_composed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multirun, "MOST_JOBS", 5)
    assert lines_of("seed=range(1,1000000000000)") == ["jobs of a sweep: expected at most 5, got 6; sweep fewer values"]
    assert lines_of("seed=1,2,3", "rounds=1,2") == ["jobs of a sweep: expected at most 5, got 6; sweep fewer values"]
