"""A recorded configuration comes back as it was or not at all, and a manifest may not say otherwise."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.config import ExperimentConfig
from fedchain.core.errors import FormatError
from fedchain.core.manifest import RunManifest
from fedchain.core.task import LocalTraining
from fedchain.workflow.audit_config import plan_difference, read_config
from tests.scenarios.federation import Setup, federation

CONFIG = Setup().config()


@pytest.mark.parametrize("config", [CONFIG, Setup(epsilon=None).config(), replace(CONFIG, seed=2**53 - 1)])
def test_a_configuration_comes_back_from_its_canonical_bytes(config: ExperimentConfig) -> None:
    assert read_config(config.canonical()) == config


def altered(change: Callable[[dict[str, Any]], object]) -> bytes:
    raw = json.loads(CONFIG.canonical())
    change(raw)
    return json.dumps(raw, separators=(",", ":"), sort_keys=True).encode()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda raw: raw.update(rounds=0), "rounds"),
        (lambda raw: raw.update(rounds="2"), "rounds"),
        (lambda raw: raw.update(rounds=True), "rounds"),
        (lambda raw: raw.update(rounds=None), "rounds"),
        (lambda raw: raw.update(seed=2**53), "configuration"),
        (lambda raw: raw.update(experiment=""), "experiment"),
        (lambda raw: raw.pop("seed"), "the keys"),
        (lambda raw: raw.update(extra=1), "the keys"),
        (lambda raw: raw.update(data=[]), "data"),
        (lambda raw: raw["privacy"].update(mode="maybe"), "mode"),
        (lambda raw: raw["privacy"].update(epsilon=4), "epsilon"),
        (lambda raw: raw["privacy"].update(epsilon="-4"), "epsilon"),
        (lambda raw: raw["privacy"].update(epsilon="nan"), "epsilon"),
        (lambda raw: raw["privacy"].update(epsilon="four"), "configuration"),
        (lambda raw: raw["privacy"].update(epsilon="4.00"), "canonical"),
    ],
)
def test_a_configuration_that_none_of_ours_would_be_is_refused(
    change: Callable[[dict[str, Any]], object], told: str
) -> None:
    with pytest.raises(FormatError, match=told):
        read_config(altered(change))


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 100_000, b'"config"', b"1" * 5000])
def test_what_is_no_configuration_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        read_config(data)


@given(place=st.integers(0, 2**12), others=st.binary(max_size=3), length=st.integers(0, 6))
def test_an_altered_configuration_is_refused_or_is_another_one(place: int, others: bytes, length: int) -> None:
    canonical = CONFIG.canonical()
    start = place % (len(canonical) + 1)
    data = canonical[:start] + others + canonical[start + length :]
    try:
        config = read_config(data)
    except FormatError:
        return
    assert config.canonical() == data
    assert (config == CONFIG) is (data == canonical)


# ------------------------------------------------------------------ the manifest beside it


MANIFEST = federation().plan.manifest


def test_a_plan_says_what_its_configuration_says() -> None:
    assert plan_difference(MANIFEST, CONFIG) is None


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "other"}, {"rounds": 3}, {"strategy": "median"}, {"min_clients": 1}, {"max_update_norm_e6": 1},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_a_manifest_that_says_otherwise_is_named(change: dict[str, Any]) -> None:
    difference = plan_difference(replace(MANIFEST, **change), CONFIG)
    assert difference is not None
    (name, value), (expected, got) = next(iter(change.items())), difference
    assert expected.startswith(f"{name} ")
    assert got == f"{name} {value}"


@pytest.mark.parametrize("name", [each.name for each in dataclasses.fields(LocalTraining)])
def test_training_that_the_configuration_does_not_say_is_named(name: str) -> None:
    value = getattr(MANIFEST.training, name)
    other: Any = value | {"hidden": "9"} if isinstance(value, dict) else 77 if isinstance(value, int) else "77"
    changed: RunManifest = replace(MANIFEST, training=replace(MANIFEST.training, **{name: other}))
    difference = plan_difference(changed, CONFIG)
    assert difference is not None
    assert difference[1] == f"training.{name} {other}"


def test_the_number_of_features_is_the_datas_and_not_the_configurations() -> None:
    training = replace(MANIFEST.training, model_options={"inputs": "99"})
    assert plan_difference(replace(MANIFEST, training=training), CONFIG) is None
