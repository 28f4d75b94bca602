"""Local training: repeatable without privacy, faithful to what was charged with it, strict about its input."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training import trainer
from fedchain.adapters.training.models import initial, schema
from fedchain.adapters.training.trainer import TorchTrainer, batch_orders, check_private
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, TensorSchema
from fedchain.ports.training import LocalRound

LOGISTIC = LocalTraining("logistic", {"inputs": "13"}, 2, 32, "0.5", "off", 10_000_000, "1.0", 5, 1)
MLP = replace(LOGISTIC, model="mlp", model_options={"inputs": "13", "hidden": "8"})
BOTH = pytest.mark.parametrize("training", [LOGISTIC, MLP], ids=["logistic", "mlp"])


@pytest.fixture(scope="module")
def site() -> Partition:
    return load_heart()[3]


def round_of(training: LocalTraining, site: Partition, noise_e6: int = 0, round_: int = 1) -> LocalRound:
    batches = batches_per_epoch(site.card.nominal_size, training.batch_size)
    release = Release(noise_e6, batches, batches * training.epochs)
    return LocalRound(training, release, round_, site.card.nominal_size)


def base_of(training: LocalTraining) -> FloatTensors:
    return initial(training.model, training.model_options, training.seed)


def private(training: LocalTraining) -> LocalTraining:
    return replace(training, epsilon="8")


def equal(one: FloatTensors, other: FloatTensors) -> bool:
    return all(array.tobytes() == other[name].tobytes() for name, array in one.items())


@BOTH
@pytest.mark.parametrize("noise_e6", [0, 1_000_000])
def test_an_update_has_the_models_schema_and_is_float64(
    training: LocalTraining, noise_e6: int, site: Partition
) -> None:
    chosen = private(training) if noise_e6 else training
    update = TorchTrainer(site).train(base_of(chosen), round_of(chosen, site, noise_e6))
    assert TensorSchema.of(update) == schema(chosen.model, chosen.model_options)
    assert all(array.dtype == np.float64 and np.isfinite(array).all() and array.any() for array in update.values())


@BOTH
def test_without_privacy_equal_inputs_give_equal_bytes(training: LocalTraining, site: Partition) -> None:
    base, local = base_of(training), round_of(training, site)
    torch.manual_seed(1)
    first = TorchTrainer(site).train(base, local)
    torch.manual_seed(2)
    torch.rand(5)
    assert equal(first, TorchTrainer(site).train(base, local))


def test_without_privacy_the_number_of_threads_does_not_matter(site: Partition) -> None:
    before = torch.get_num_threads()
    updates = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            updates.append(TorchTrainer(site).train(base_of(MLP), round_of(MLP, site)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert equal(*updates)


@pytest.mark.parametrize("change", ["seed", "round", "name"])
def test_the_order_of_batches_comes_from_seed_round_and_dataset(change: str, site: Partition) -> None:
    orders = [list(map(np.ndarray.tolist, batch_orders(LOGISTIC, 1, site)))]
    training = replace(LOGISTIC, seed=2) if change == "seed" else LOGISTIC
    other = replace(site, card=replace(site.card, name="other")) if change == "name" else site
    orders.append(list(map(np.ndarray.tolist, batch_orders(training, 2 if change == "round" else 1, other))))
    assert orders[0] != orders[1]
    assert orders[0][0] != orders[0][1]  # epochs differ, too


@given(seed=st.integers(0, 2**53), round_=st.integers(1, 10**6))
@settings(max_examples=20)
def test_every_epoch_takes_every_row_once(seed: int, round_: int) -> None:
    site = load_heart()[2]
    for order in batch_orders(replace(LOGISTIC, seed=seed), round_, site):
        assert sorted(order) == list(range(len(site.train_x)))


def test_without_privacy_one_full_batch_is_one_gradient_step(site: Partition) -> None:
    training = replace(LOGISTIC, epochs=1, batch_size=1000)
    update = TorchTrainer(site).train(base_of(training), round_of(training, site))
    error = 0.5 - site.train_y.astype(np.float64)
    expected = -0.5 * error @ site.train_x.astype(np.float64) / len(error)
    np.testing.assert_allclose(update["output.weight"][0], expected, rtol=1e-9)
    np.testing.assert_allclose(update["output.bias"][0], -0.5 * error.mean(), rtol=1e-9)


@BOTH
def test_with_much_averaging_private_steps_go_where_clipped_steps_go(training: LocalTraining, site: Partition) -> None:
    """The mean of many private updates is the step with clipped gradients: noise and sampling have no bias."""
    chosen = replace(private(training), epochs=1, batch_size=1000, learning_rate="0.01", max_grad_norm="100")
    plain = replace(training, epochs=1, batch_size=1000, learning_rate="0.01")
    expected = TorchTrainer(site).train(base_of(plain), round_of(plain, site))
    updates = [
        TorchTrainer(site).train(base_of(chosen), round_of(chosen, site, 300_000))["output.weight"] for _ in range(200)
    ]
    deviation = 0.01 * 0.3 * 100 / site.card.nominal_size / np.sqrt(len(updates))
    np.testing.assert_allclose(np.mean(updates, axis=0), expected["output.weight"], atol=6 * deviation)


def test_memory_is_bounded_by_parts_that_change_nothing(site: Partition, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = private(MLP)
    local = round_of(chosen, site, 500_000)
    whole = TorchTrainer(site, bytes).train(base_of(chosen), local)
    monkeypatch.setattr(trainer, "_CHUNK", 1000)
    for name, array in TorchTrainer(site, bytes).train(base_of(chosen), local).items():
        np.testing.assert_allclose(array, whole[name], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "culprit"),
    [
        ([nn.Linear(2, 2), nn.BatchNorm1d(2)], "BatchNorm1d"),
        ([nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)], "BatchNorm2d"),
        ([nn.InstanceNorm1d(2, track_running_stats=True, affine=True)], "InstanceNorm1d"),
    ],
)
def test_layers_that_mix_records_are_refused_with_the_advice_groupnorm(layers: list[nn.Module], culprit: str) -> None:
    with pytest.raises(InputError, match=f"got {culprit}; use GroupNorm"):
        check_private(nn.Sequential(*layers))


def test_layers_that_treat_each_record_alone_are_fine() -> None:
    check_private(nn.Sequential(nn.Linear(2, 4), nn.GroupNorm(2, 4), nn.ReLU(), nn.LayerNorm(4)))


def test_a_model_for_other_rows_is_refused(site: Partition) -> None:
    training = replace(LOGISTIC, model_options={"inputs": "12"})
    with pytest.raises(InputError, match=r"model\.inputs: expected 13 features, got 12"):
        TorchTrainer(site).train(base_of(training), round_of(training, site))


def test_a_base_of_another_model_is_refused(site: Partition) -> None:
    with pytest.raises(InputError, match="tensors of the model logistic"):
        TorchTrainer(site).train(base_of(MLP), round_of(LOGISTIC, site))


@pytest.mark.parametrize(
    "release",
    [
        Release(299_999, 3, 6), Release(1_000_000, 2, 6), Release(1_000_000, 3, 5), Release(1_000_000, 3, 7),
        Release(0, 3, 6),
    ],
    ids=str,
)  # fmt: skip
def test_a_release_that_the_configuration_does_not_make_is_refused(release: Release, site: Partition) -> None:
    training = private(LOGISTIC)
    local = replace(round_of(training, site, 1_000_000), release=release)
    with pytest.raises(InputError, match="release: expected"):
        TorchTrainer(site).train(base_of(training), local)


def test_noise_that_the_configuration_did_not_ask_for_is_refused(site: Partition) -> None:
    with pytest.raises(InputError, match=r"release: expected privacy\.epsilon off"):
        TorchTrainer(site).train(base_of(LOGISTIC), round_of(LOGISTIC, site, 1_000_000))


def test_more_than_a_million_steps_are_refused(site: Partition) -> None:
    training = replace(private(LOGISTIC), epochs=10**6)
    with pytest.raises(InputError, match="at most 1000000 steps"):
        TorchTrainer(site).train(base_of(training), round_of(training, site, 1_000_000))


@pytest.mark.parametrize("field", ["learning_rate", "max_grad_norm"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "fast", ""])
def test_what_is_no_positive_number_is_one_line(field: str, value: str, site: Partition) -> None:
    training = dataclasses.replace(private(LOGISTIC), **{field: value})  # type: ignore[arg-type] # a text field
    with pytest.raises(InputError, match=f"{field}: expected a positive number, got '{value}'"):
        TorchTrainer(site).train(base_of(training), round_of(training, site, 1_000_000))


@pytest.mark.parametrize("noise_e6", [0, 1_000_000])
def test_a_proximal_pull_keeps_the_model_nearer_to_its_base(noise_e6: int, site: Partition) -> None:
    plan = replace(private(LOGISTIC) if noise_e6 else LOGISTIC, epochs=20)
    norms = []
    for proximal in ("0", "0.5"):
        chosen = replace(plan, proximal=proximal)
        key = TorchTrainer(site, bytes)  # the same noise for both
        update = key.train(base_of(chosen), round_of(chosen, site, noise_e6))
        norms.append(sum(float((each**2).sum()) for each in update.values()))
    assert norms[1] < norms[0]
