"""The integer forward pass that scores updates is the model that was trained, up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.adapters.training.evaluation import auroc, predict
from fedchain.adapters.training.models import initial
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.scoring import logits, ranked_pairs
from fedchain.core.tensors import FloatTensors
from tests.core.samples import FEW

ENCODING = FixedPoint()
MODELS = [
    ("logistic", {"inputs": "13"}),
    ("mlp", {"inputs": "13", "hidden": "16"}),
    ("mlp", {"inputs": "13", "hidden": "9,5"}),
]


def tensors_of(model: str, options: dict[str, str], draws: np.random.Generator) -> FloatTensors:
    return {name: draws.normal(size=array.shape) for name, array in initial(model, options, 1).items()}


@FEW
@pytest.mark.parametrize(("model", "options"), MODELS)
@given(seed=st.integers(0, 2**32 - 1))
def test_integers_rank_rows_as_torch_does_up_to_rounding(model: str, options: dict[str, str], seed: int) -> None:
    draws = np.random.default_rng(seed)
    rows = draws.uniform(-1, 1, (40, 13)).astype(np.float32)
    labels = (draws.random(40) < 0.5).astype(np.float32)
    labels[:2] = (0, 1)
    quantised = ENCODING.quantise(tensors_of(model, options, draws))
    features = ENCODING.quantise({"rows": rows})["rows"]
    exact = logits(quantised, features, ENCODING.fraction_bits)
    floats = predict(model, options, ENCODING.dequantise(quantised), rows)
    scaled = np.array(exact, np.float64) * 2.0**-48
    np.testing.assert_allclose(scaled, floats, atol=1e-5)
    pairs = int(labels.sum()) * int((1 - labels).sum())
    close = sum(abs(a - b) < 2e-5 for a in floats[labels > 0] for b in floats[labels == 0])
    share = auroc(floats, labels)
    assert share is not None
    assert abs(ranked_pairs(exact, labels.astype(np.int32)) - 2 * pairs * share) <= 2 * close + 1e-6


def test_a_logistic_models_logits_are_exact() -> None:
    draws = np.random.default_rng(7)
    rows = (draws.integers(-8, 8, (20, 13)) / 8).astype(np.float32)
    weight: FloatTensors = {"output.weight": draws.integers(-64, 64, (1, 13)) / 64}
    tensors: FloatTensors = weight | {"output.bias": draws.integers(-64, 64, 1) / 64}
    features = ENCODING.quantise({"rows": rows})["rows"]
    exact = logits(ENCODING.quantise(tensors), features, ENCODING.fraction_bits)
    floats = predict("logistic", {"inputs": "13"}, tensors, rows)
    assert [each / 2**48 for each in exact] == floats.tolist()
