"""Models by name: schemas, initial tensors that are the same everywhere, and refusal of what does not fit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from fedchain.adapters.training.models import build, initial, schema, tensors_of
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import TensorSchema, encode

LOGISTIC = {"inputs": "13"}
MLP = {"inputs": "13", "hidden": "16"}
DEEP = {"inputs": "13", "hidden": "16,8"}
ALL = [("logistic", LOGISTIC), ("mlp", MLP), ("mlp", DEEP)]


@pytest.mark.parametrize(("model", "options"), ALL)
def test_initial_tensors_have_the_schema(model: str, options: dict[str, str]) -> None:
    assert TensorSchema.of(initial(model, options, seed=3)) == schema(model, options)


def test_schemas_are_named_layer_by_layer() -> None:
    assert schema("logistic", LOGISTIC) == TensorSchema(("output.bias", "output.weight"), ((1,), (1, 13)))
    assert schema("mlp", DEEP).names == (
        "hidden1.bias", "hidden1.weight", "hidden2.bias", "hidden2.weight", "output.bias", "output.weight",
    )  # fmt: skip
    assert schema("mlp", MLP).parameters == 13 * 16 + 16 + 16 + 1


def test_logistic_regression_starts_from_zero_whatever_the_seed() -> None:
    assert all(not array.any() for array in initial("logistic", LOGISTIC, seed=7).values())


def test_the_first_tensors_of_a_seed_are_the_same_bytes_on_every_machine() -> None:
    encoded = encode(FixedPoint().quantise(initial("mlp", MLP, seed=1)))
    assert hashlib.sha256(encoded).hexdigest() == "ccfe6624245ef0ade4be05b2592089a7611d57bf5f5af440d97bcdd4c657cc46"


def test_seeds_and_tensors_are_drawn_apart_and_within_their_bound() -> None:
    one, two = initial("mlp", MLP, seed=1), initial("mlp", MLP, seed=2)
    for name, array in one.items():
        assert not np.array_equal(array, two[name])
        assert np.abs(array).max() <= 1 / np.sqrt(13 if name.startswith("hidden") else 16)
    assert not np.isin(one["hidden1.bias"], one["hidden1.weight"]).any()


@pytest.mark.parametrize(("model", "options"), ALL)
def test_a_module_gives_back_the_tensors_it_was_built_from(model: str, options: dict[str, str]) -> None:
    tensors = {name: array + 1e-9 for name, array in initial(model, options, seed=5).items()}
    module = build(model, options, tensors)
    for name, array in tensors_of(module).items():
        np.testing.assert_array_equal(array, tensors[name])


def test_building_and_training_never_change_the_tensors_given() -> None:
    tensors = initial("mlp", MLP, seed=5)
    before = {name: array.copy() for name, array in tensors.items()}
    module = build("mlp", MLP, tensors)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(1.0)
    for name, array in tensors.items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize(("model", "options"), ALL)
def test_a_module_maps_rows_to_one_logit_each(model: str, options: dict[str, str]) -> None:
    module = build(model, options, initial(model, options, seed=5))
    for rows in (0, 1, 7):
        assert module(torch.zeros(rows, 13, dtype=torch.float64)).shape == (rows,)


def test_a_multilayer_perceptron_is_what_its_layers_say() -> None:
    tensors = initial("mlp", MLP, seed=5)
    rows = np.random.default_rng(0).normal(size=(4, 13))
    hidden = np.maximum(rows @ tensors["hidden1.weight"].T + tensors["hidden1.bias"], 0)
    expected = (hidden @ tensors["output.weight"].T + tensors["output.bias"])[:, 0]
    with torch.no_grad():
        logits = build("mlp", MLP, tensors)(torch.from_numpy(rows))
    np.testing.assert_allclose(logits.numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("forest", LOGISTIC, r"model\.name: expected one of \['logistic', 'mlp'\], got forest"),
        ("logistic", {}, "options of the model logistic"),
        ("logistic", MLP, "options of the model logistic"),
        ("mlp", LOGISTIC, "options of the model mlp"),
        ("mlp", {"inputs": "13", "hidden": ""}, r"model\.hidden: expected a whole number"),
        ("mlp", {"inputs": "13", "hidden": "16,,8"}, r"model\.hidden"),
        ("mlp", {"inputs": "13", "hidden": "0"}, r"model\.hidden"),
        ("mlp", {"inputs": "13", "hidden": "1" * 30}, r"model\.hidden"),
        ("mlp", {"inputs": "13", "hidden": ",".join(["2"] * 9)}, "fewer than 8 layers"),
        ("logistic", {"inputs": "-1"}, r"model\.inputs"),
        ("logistic", {"inputs": "1.5"}, r"model\.inputs"),
        ("logistic", {"inputs": "٣"}, r"model\.inputs"),
    ],
)
def test_what_is_no_model_is_one_line(model: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        initial(model, options, seed=1)


def test_tensors_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match="tensors of the model mlp: expected hidden1"):
        build("mlp", MLP, initial("logistic", LOGISTIC, seed=1))
