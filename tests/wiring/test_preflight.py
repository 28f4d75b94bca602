"""What a run cannot do is refused in one line with its remedy, before anything is made or spent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from fedchain.adapters.datasets.heart import load_heart
from fedchain.config import CheckpointConfig, EarlyStoppingConfig, ExperimentConfig, PrivacyConfig
from fedchain.core.errors import InputError, PolicyError
from fedchain.wiring.bench import Bench
from fedchain.wiring.preflight import check
from tests.scenarios.genuine import SMALL

HEART = load_heart(None, "flamby")
ONE_CLASS = tuple(replace(each, test_y=np.zeros_like(each.test_y)) for each in HEART)
NO_TEST = tuple(replace(each, test_x=each.test_x[:0], test_y=each.test_y[:0]) for each in HEART)


def refusal(config: ExperimentConfig, bench: Bench) -> str:
    with pytest.raises(InputError) as caught:
        check(config, bench)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    return str(caught.value)


def test_what_can_be_done_passes() -> None:
    check(replace(SMALL, early_stopping=EarlyStoppingConfig(3)), Bench(HEART))
    check(SMALL, Bench(NO_TEST))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there() -> None:
    line = refusal(replace(SMALL, device="cuda"), Bench(HEART))
    assert "device=cuda: expected a GPU that torch can use, got none" in line
    assert "choose device=cpu" in line


@pytest.mark.parametrize(
    ("bench", "got"),
    [(Bench(ONE_CLASS), "254 test rows, which define none"), (Bench(NO_TEST), "0 test rows, which define none")],
    ids=["one class", "no test rows"],
)
def test_a_metric_that_the_test_rows_do_not_define(bench: Bench, got: str) -> None:
    line = refusal(replace(SMALL, early_stopping=EarlyStoppingConfig(3)), bench)
    assert f"auroc cannot be watched: expected a metric that the sites' test rows define, got {got}" in line
    assert "auprc cannot be watched" in refusal(replace(SMALL, checkpoint=CheckpointConfig("auprc")), bench)


def test_a_delta_that_a_site_does_not_grant_is_refused_before_any_round() -> None:
    check(replace(SMALL, privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0)), Bench(HEART))
    check(replace(SMALL, privacy=PrivacyConfig("off", 8.0, 1e-6, 1.0)), Bench(HEART))
    with pytest.raises(PolicyError) as caught:
        check(replace(SMALL, privacy=PrivacyConfig("dp", 8.0, 1e-6, 1.0)), Bench(HEART))
    assert str(caught.value) == (
        "cleveland grants epsilon at one delta only: expected privacy.delta=0.00001, got 0.000001; "
        "choose that one, or ask the site for another grant"
    )
