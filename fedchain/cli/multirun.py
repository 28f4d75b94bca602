"""From the overrides of a sweep to its jobs: Hydra's syntax (comma lists, choice(), range(), glob()) and its product.

As in Hydra's own BasicSweeper the last override varies fastest, and of two overrides of one key the later one counts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from fedchain.cli.compose import CONF, choices_of, compose, no_override, parsed
from fedchain.config import ExperimentConfig
from fedchain.core.errors import InputError

MOST_JOBS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Composed:
    """One job of a sweep: all its overrides, those of them that vary, and the configuration that they make."""

    overrides: tuple[str, ...]
    varied: tuple[str, ...]
    config: ExperimentConfig


def compose_sweep(overrides: Sequence[str], config_dir: Path | None = None) -> tuple[Composed, ...]:
    """Return the jobs of a sweep, each configuration once.

    Raises:
        ExceptionGroup: of InputError, one for each thing that is wrong.
    """
    choices = choices_of(CONF, *([config_dir] if config_dir else []))
    values = _values(overrides, choices)
    fixed = {key for key, texts in values.items() if len(texts) == 1}
    jobs: dict[bytes, Composed] = {}
    errors: dict[str, InputError] = {}
    for row in itertools.product(*values.values()):
        pairs = dict(zip(values, row, strict=True))
        try:
            config = compose(row, config_dir)
        except ExceptionGroup as group:
            errors |= {str(each): each for each in group.exceptions if isinstance(each, InputError)}
            continue
        except InputError as error:
            errors[str(error)] = error
            continue
        job = Composed(row, tuple(text for key, text in pairs.items() if key not in fixed), config)
        twin = jobs.setdefault(config.digest(), job)
        if twin is not job:
            wrong = _twins(twin, job)
            errors[str(wrong)] = wrong
    if errors:
        raise ExceptionGroup("the overrides", list(errors.values()))
    return tuple(jobs.values())


def _values(overrides: Sequence[str], choices: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Return the overrides that each key is to have, one after the other."""
    values: dict[str, list[str]] = {}
    for text in overrides:
        override = parsed(text)
        if override is None:
            raise ExceptionGroup("the overrides", [no_override(text)])
        values[override.get_key_element()] = list(_each(text, override, choices))
    count = math.prod(map(len, values.values()))
    if count > MOST_JOBS:
        raise InputError("jobs of a sweep", expected=f"at most {MOST_JOBS}", got=count, remedy="sweep fewer values")
    return values


def _each(text: str, override: Override, choices: Mapping[str, list[str]]) -> Iterator[str]:
    if not override.is_sweep_override():
        yield text
        return
    key = override.get_key_element()
    try:
        value: object = override.value()
        found = value.filter(choices.get(key, [])) if isinstance(value, Glob) else override.sweep_string_iterator()
        texts = [f"{key}={each}" for each in itertools.islice(found, MOST_JOBS + 1)]
    except HydraException as error:
        raise InputError(
            f"override {text[:80]}", got=str(error)[:200], remedy="list the values, as key=1,2,3"
        ) from error
    if not texts:
        raise InputError(f"override {text[:80]}", expected="at least one value", got="none")
    yield from texts


def _twins(one: Composed, other: Composed) -> InputError:
    return InputError(
        "two jobs of a sweep have one configuration", expected="each configuration once",
        got=f"{' '.join(one.varied)} and {' '.join(other.varied)}",
    )  # fmt: skip
