"""Models of the experimenter's own: what is exchanged, and what is refused with the remedy."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from fedchain.adapters.datasets.own import make_partition, sandbox
from fedchain.adapters.training import models
from fedchain.adapters.training.evaluation import measures, predict
from fedchain.adapters.training.losses import summed_loss
from fedchain.adapters.training.modules import Maker, arguments_of
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release
from fedchain.core.task import LocalTraining
from fedchain.ports.training import LocalRound
from fedchain.wiring.bench import Bench, check_model

OPTIONS = {"inputs": "3", "target": "mine:net", "frozen": "", "options.hidden": "4"}
DRAWS = np.random.default_rng(5)
ROWS = DRAWS.normal(size=(40, 3)).astype(np.float32)
SITE = make_partition("north", ROWS, (ROWS.sum(axis=1) > 0).astype(float), sandbox("made", "synthetic"))


def net(hidden: int, norm: type[nn.Module] = nn.Identity, outputs: int = 1) -> nn.Module:
    return nn.Sequential(nn.Linear(3, hidden), norm(hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, outputs))


def with_batch_norm(hidden: int) -> nn.Module:
    return net(hidden, nn.BatchNorm1d)


MAKERS: dict[str, Maker] = {"mine:net": net, "mine:norm": with_batch_norm}


def training(**changes: object) -> LocalTraining:
    plain = LocalTraining("custom", OPTIONS, 1, 8, "0.1", "off", 10_000_000, "1.0", 1, 7)
    return LocalTraining(**{name: getattr(plain, name) for name in plain.__slots__} | changes)


def test_the_exchanged_tensors_are_the_modules_own_and_the_seed_decides() -> None:
    one, same, other = (models.initial("custom", OPTIONS, seed, MAKERS) for seed in (1, 1, 2))
    assert set(one) == {"0.weight", "0.bias", "4.weight", "4.bias"}
    assert one["0.weight"].tobytes() == same["0.weight"].tobytes() != other["0.weight"].tobytes()
    assert models.schema("custom", OPTIONS, MAKERS).parameters == 4 * 3 + 4 + 4 + 1


def test_making_a_model_leaves_torchs_generator_where_it_was() -> None:
    before = torch.get_rng_state()
    models.initial("custom", OPTIONS, 1, MAKERS)
    assert torch.equal(before, torch.get_rng_state())


def test_a_target_that_was_not_loaded_here_is_never_called() -> None:
    with pytest.raises(InputError, match=r"the model evil:run is not registered here: expected one of .*mine:net"):
        TorchTrainer(SITE, makers=MAKERS).train({}, round_of(training(model_options=OPTIONS | {"target": "evil:run"})))
    with pytest.raises(InputError, match="is not registered here"):
        models.initial("custom", OPTIONS, 1)


def test_a_checkpoint_of_another_model_is_refused() -> None:
    tensors = models.initial("custom", OPTIONS | {"options.hidden": "5"}, 1, MAKERS)
    with pytest.raises(InputError, match=r"tensors of the model mine:net: expected 0.bias \(4,\).* got 0.bias \(5,\)"):
        models.build("custom", OPTIONS, tensors, MAKERS)


def test_an_integer_buffer_is_frozen_by_name_or_refused() -> None:
    options = OPTIONS | {"target": "mine:norm"}
    with pytest.raises(InputError, match=r"buffer 1.num_batches_tracked .* freeze it with model.frozen=\[1.num_bat"):
        models.initial("custom", options, 1, MAKERS)
    frozen = options | {"frozen": "1.num_batches_tracked"}
    tensors = models.initial("custom", frozen, 1, MAKERS)
    assert "1.running_mean" in tensors
    assert "1.num_batches_tracked" not in tensors
    update = TorchTrainer(SITE, makers=MAKERS).train(tensors, round_of(training(model_options=frozen)))
    assert set(update) == set(tensors)


def test_batch_norm_under_privacy_is_refused_with_the_advice_before_any_round() -> None:
    private = training(model_options=OPTIONS | {"target": "mine:norm"}, epsilon="8")
    with pytest.raises(InputError, match="got BatchNorm1d; use GroupNorm in the place of BatchNorm"):
        check_model(private, Bench((SITE,), MAKERS))


@pytest.mark.parametrize(
    ("maker", "said"),
    [
        (
            lambda hidden: nn.Linear(3, hidden - 2),
            r"the model's output: expected one number a row, .* got \(4, 2\); for several",
        ),
        (lambda hidden: nn.Linear(hidden + 1, 1), "mine:net failed with RuntimeError: mat1 and mat2 shapes"),
        (lambda hidden: [hidden], "expected a torch.nn.Module, got list"),
        (lambda width: nn.Linear(3, width), "mine:net failed with TypeError: .*unexpected keyword argument 'hidden'"),
        (lambda hidden: nn.LeakyReLU(float(hidden)), "expected parameters to train, got none"),
    ],
)
def test_a_model_that_does_not_fit_is_refused_before_any_round(maker: Maker, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_model(training(), Bench((SITE,), {"mine:net": maker}))


def round_of(plan: LocalTraining) -> LocalRound:
    batches = -(-SITE.card.nominal_size // plan.batch_size)
    noise = 1_000_000 if plan.epsilon != "off" else 0
    return LocalRound(plan, Release(noise, batches, batches * plan.epochs), 1, SITE.card.nominal_size)


@pytest.mark.parametrize("epsilon", ["off", "8"])
def test_a_model_of_ones_own_is_trained(epsilon: str) -> None:
    plan = training(epsilon=epsilon, epochs=3)
    base = models.initial("custom", OPTIONS, 1, MAKERS)
    trainer = TorchTrainer(SITE, makers=MAKERS)
    update, again = (trainer.train(base, round_of(plan)) for _ in range(2))
    assert all(np.isfinite(each).all() for each in update.values())
    is_same = all(update[name].tobytes() == again[name].tobytes() for name in base)
    assert is_same == (epsilon == "off")  # dropout is seeded, the noise never
    outputs = predict("custom", OPTIONS, {n: base[n] + update[n] for n in base}, SITE.test_x, MAKERS)
    assert outputs.shape == (len(SITE.test_y), 1)


def test_sites_that_train_on_threads_get_what_each_gets_alone() -> None:
    """Torch has one generator for a process, and dropout draws from it."""
    plan = training(epochs=20)
    base = models.initial("custom", OPTIONS, 1, MAKERS)
    alone = TorchTrainer(SITE, makers=MAKERS).train(base, round_of(plan))
    with ThreadPoolExecutor(8) as pool:
        trainers = [TorchTrainer(SITE, makers=MAKERS) for _ in range(24)]
        together = list(pool.map(lambda each: each.train(base, round_of(plan)), trainers))
    assert all(each[name].tobytes() == alone[name].tobytes() for each in together for name in base)


def test_the_loss_of_each_task() -> None:
    numbers = torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    labels = torch.tensor([1.0, 0.0], dtype=torch.float64)
    expected = np.log1p(np.exp(-0.5)) + np.log1p(np.exp(-1.0))
    assert summed_loss("binary", numbers, labels).item() == pytest.approx(expected)
    assert summed_loss("regression", numbers, labels).item() == pytest.approx(0.25 + 1.0)
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0]], dtype=torch.float64)
    expected = np.log1p(np.exp(-1.0)) + np.log1p(np.exp(-2.0))
    assert summed_loss("multiclass", logits, labels).item() == pytest.approx(expected)
    for wrong in ([0.0, 2.0], [0.5, 1.0], [-1.0, 0.0]):
        with pytest.raises(InputError, match="labels"):
            summed_loss("multiclass", logits, torch.tensor(wrong, dtype=torch.float64))


def test_the_metrics_of_each_task() -> None:
    labels = np.array([0.0, 2.0, 1.0], np.float32)
    logits = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 1.0], [3.0, 0.0, 0.0]])
    found = measures("multiclass", logits, labels)
    assert found["accuracy"] == pytest.approx(2 / 3)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert found["log_loss"] == pytest.approx(-np.log(probabilities[[0, 1, 2], [0, 2, 1]]).mean())
    assert measures("regression", np.array([1.0, 2.0, 5.0]), labels) == {
        "rows": 3.0, "rmse": pytest.approx(np.sqrt((1 + 0 + 16) / 3)), "mae": pytest.approx(5 / 3),
    }  # fmt: skip


def test_options_are_the_values_that_they_are_written_for() -> None:
    texts = {"a": "3", "b": "0.5", "c": "true", "d": "null", "e": "relu", "f": "[1]", "g": "1e-3"}
    assert arguments_of(texts) == {"a": 3, "b": 0.5, "c": True, "d": None, "e": "relu", "f": "[1]", "g": 0.001}
