"""A run's manifest against the configuration that every update signs: where they overlap they must say the same.

The manifest is the aggregator's document, the configuration's digest stands in each signed update. Without this check
an aggregator could lower `min_clients` or raise the norm's bound after the sites had agreed to something else.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeAlias, cast

from annotated_types import Ge, Gt, Le, Lt, MinLen

from fedchain.config import ExperimentConfig, is_recorded
from fedchain.core import json_text
from fedchain.core.errors import FormatError
from fedchain.core.manifest import RunManifest
from fedchain.core.privacy import MICRO
from fedchain.workflow.planning import local_training, payload_encryption
from fedchain.workflow.stepping import optimiser_of, own_strategy_of

Json: TypeAlias = Any


def read_config(canonical: bytes) -> ExperimentConfig:
    """Read a recorded configuration back.

    Raises:
        FormatError: if it is not in canonical form, or a value is out of its range.
    """
    try:
        config = cast("ExperimentConfig", _decode(ExperimentConfig, json_text.parse(canonical), "configuration"))
        is_canonical = config.canonical() == canonical
    except (ValueError, RecursionError) as error:
        raise FormatError("configuration", expected="canonical JSON", got=str(error)[:80]) from error
    if not is_canonical:
        raise FormatError("configuration is not in canonical form", expected="RFC 8785 JSON with exactly its fields")
    return config


def plan_difference(run: RunManifest, config: ExperimentConfig) -> tuple[str, str] | None:
    """Return the first thing that the configuration and the manifest say differently (expected, got), or None."""
    strategy, training = config.strategy, local_training(config, 0)
    # The number of features is the data's, not the configuration's: the model's own tensors bind it.
    inputs = {"inputs": run.training.model_options.get("inputs", "")}
    training = dataclasses.replace(training, model_options=training.model_options | inputs)
    sources = b"" if run.own_strategy is None else run.own_strategy.sources  # the manifest's own, as code_digest is
    pairs: list[tuple[str, object, object]] = [
        ("experiment", config.experiment, run.experiment),
        ("rounds", config.rounds, run.rounds),
        ("strategy", strategy.name, run.strategy),
        ("min_clients", strategy.min_clients, run.min_clients),
        ("max_update_norm_e6", round(strategy.max_update_norm * MICRO), run.max_update_norm_e6),
        ("optimiser", optimiser_of(strategy), run.optimiser),
        ("own_strategy", own_strategy_of(strategy, sources), run.own_strategy),
        ("payload_encryption", payload_encryption(config), run.payload_encryption),
    ]
    rewards = None if config.rewards.mode == "off" else config.rewards.pool_per_round
    pairs.append(("rewards", rewards, None if run.rewards is None else run.rewards.pool_per_round))
    names = [each.name for each in dataclasses.fields(training)]
    pairs += [(f"training.{name}", getattr(training, name), getattr(run.training, name)) for name in names]
    for name, agreed, said in pairs:
        if agreed != said:
            return f"{name} {agreed} of the configuration", f"{name} {said}"
    return None


def _decode(kind: object, raw: Json, path: str) -> object:
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        base, *limits = typing.get_args(kind)
        value = _decode(base, raw, path)
        _expect(all(_is_within(value, limit) for limit in limits), path, f"a value within {limits}", raw)
        return value
    if origin in (types.UnionType, typing.Union):
        (inner,) = [option for option in typing.get_args(kind) if option is not type(None)]
        return None if raw is None else _decode(inner, raw, path)
    if origin is tuple:
        _expect(isinstance(raw, list), path, "an array", raw)
        return tuple(_decode(typing.get_args(kind)[0], item, f"{path}[{index}]") for index, item in enumerate(raw))
    if origin is dict:
        _expect(isinstance(raw, dict), path, "an object", raw)
        return {str(key): _decode(typing.get_args(kind)[1], item, f"{path}.{key}") for key, item in raw.items()}
    if origin is typing.Literal:
        _expect(raw in typing.get_args(kind), path, f"one of {typing.get_args(kind)}", raw)
        return raw
    if dataclasses.is_dataclass(kind):
        return _decode_group(cast("type", kind), raw, path)
    if kind is float:
        return _decode_real(raw, path)
    _expect(type(raw).__name__ == getattr(kind, "__name__", ""), path, f"a value of type {kind}", raw)
    return raw


def _decode_group(cls: type, raw: Json, path: str) -> object:
    recorded = {each.name for each in dataclasses.fields(cls) if is_recorded(each)}
    hints = {n: hint for n, hint in typing.get_type_hints(cls, include_extras=True).items() if n in recorded}
    _expect(isinstance(raw, dict), path, "an object", raw)
    group = cast("dict[str, Json]", raw)
    _expect(group.keys() == hints.keys(), path, f"the keys {sorted(hints)}", sorted(group))
    return cls(**{name: _decode(hint, group[name], f"{path}.{name}") for name, hint in hints.items()})


def _decode_real(raw: Json, path: str) -> float:
    _expect(isinstance(raw, str), path, "a decimal string", raw)
    value = float(raw)
    _expect(math.isfinite(value), path, "a finite number", raw)
    return value


def _is_within(value: Any, limit: object) -> bool:  # noqa: ANN401  # numbers and text, whatever the limit is for
    match limit:
        case Ge(ge):
            return bool(value >= ge)
        case Gt(gt):
            return bool(value > gt)
        case Le(le):
            return bool(value <= le)
        case Lt(lt):
            return bool(value < lt)
        case MinLen(length):
            return len(value) >= length
        case _:
            raise TypeError(f"a limit that is not known: {limit}")


def _expect(holds: bool, path: str, expected: str, got: object) -> None:
    if not holds:
        raise FormatError(path, expected=expected, got=repr(got)[:80])
