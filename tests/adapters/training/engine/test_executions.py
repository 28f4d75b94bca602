"""Every execution of the engine gives what the loop gives: the same batches, the same steps, up to rounding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedchain.adapters.training.engine import fused, fused_private, loop, vmapped
from fedchain.adapters.training.engine.choice import choose
from fedchain.adapters.training.engine.recipe import Execution, Job
from fedchain.adapters.training.engine.stack import shapes_of
from fedchain.adapters.training.losses import Loss, per_record, slope
from tests.adapters.training.engine.samples import convolution, empty, job_of, mlp, recipe, tanh

UNEVEN = (21, 8, 3, 16, 1)
W1A, W1B = 5e-6, 2e-5
"""The largest difference from the loop, over the largest coordinate of the updates, in float32."""


def updates_by(execution: Execution, job: Job) -> torch.Tensor:
    out = empty(job)
    execution(job, out)
    return out


def difference(job: Job, one: Execution, other: Execution) -> float:
    expected = updates_by(other, job)
    return float((updates_by(one, job) - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("epochs", [1, 3])
@pytest.mark.parametrize("execution", [fused.train, vmapped.train], ids=["fused", "vmapped"])
def test_clients_of_any_size_get_the_loops_updates(execution: Execution, epochs: int) -> None:
    job = job_of(recipe("mlp", {"widths": "5,7,4,3"}, epochs=epochs), UNEVEN, (5,))
    assert difference(job, execution, loop.train) < 1e-13


def test_a_module_that_is_no_stack_gets_the_loops_updates() -> None:
    job = job_of(recipe("tanh", {"widths": "5,3"}, epochs=2), UNEVEN, (5,))
    assert difference(job, vmapped.train, loop.train) < 1e-13


@pytest.mark.parametrize("execution", [fused.train, vmapped.train], ids=["fused", "vmapped"])
def test_on_the_small_workload_float32_stays_within_the_stated_tolerance(execution: Execution) -> None:
    job = job_of(recipe("mlp", {"widths": "13,64,2"}, batch=32, precision="float32"), [128] * 20, (13,))
    assert difference(job, execution, loop.train) < W1A


def test_on_the_wide_workload_float32_stays_within_the_stated_tolerance() -> None:
    job = job_of(recipe("mlp", {"widths": "784,200,200,10"}, batch=32, precision="float32"), [128] * 3, (784,))
    assert difference(job, fused.train, loop.train) < W1B


@pytest.mark.parametrize("name", ["mlp", "tanh"])
def test_clients_taken_some_at_a_time_get_the_same_updates(name: str) -> None:
    job = job_of(recipe(name, {"widths": "5,3"}), UNEVEN, (5,))
    choice = choose(job.module, job.recipe, is_private=False)
    assert choice is not None
    whole, pieces = updates_by(choice.execution, job), empty(job)
    for piece, rows in job.chunks(2, pieces):
        choice.execution(piece, rows)
    torch.testing.assert_close(pieces, whole, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("execution", [loop.train, fused.train, vmapped.train], ids=["loop", "fused", "vmapped"])
def test_equal_jobs_give_equal_bytes_whatever_torchs_generator_says(execution: Execution) -> None:
    job = job_of(recipe("mlp", {"widths": "5,7,3"}), UNEVEN, (5,))
    first = updates_by(execution, job)
    torch.manual_seed(77)
    assert updates_by(execution, job).numpy().tobytes() == first.numpy().tobytes()


@pytest.mark.parametrize(
    ("module", "is_private", "name"),
    [
        (mlp({"widths": "5,7,3"}), False, "fused"),
        (mlp({"widths": "5,7,3"}), True, "fused"),
        (tanh({"widths": "5,3"}), False, "vmapped"),
        (tanh({"widths": "5,3"}), True, "vmapped"),
        (convolution({"classes": "2"}), False, "loop"),
        (convolution({"classes": "2"}), True, "bookkeeping"),
        (nn.Sequential(nn.Linear(5, 3), nn.Dropout()), False, "loop"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_execution_follows_the_model(module: nn.Module, is_private: bool, name: str) -> None:
    choice = choose(module, recipe("mlp", {}), is_private=is_private)
    assert choice is not None
    assert choice.name == name


def test_wide_models_are_taken_a_few_clients_at_a_time_and_small_ones_all_at_once() -> None:
    wide = choose(mlp({"widths": "784,200,200,10"}), recipe("mlp", {}), is_private=False)
    small = choose(mlp({"widths": "13,64,2"}), recipe("mlp", {}), is_private=False)
    assert wide is not None
    assert small is not None
    assert 5 <= wide.clients <= 10
    assert small.clients >= 100


def test_a_private_module_that_no_execution_takes_is_not_guessed_at() -> None:
    assert choose(nn.Sequential(nn.Linear(5, 3), nn.PReLU()), recipe("mlp", {}), is_private=True) is None


def test_what_is_no_stack_is_not_taken_for_one() -> None:
    shared = nn.Linear(3, 3)
    for module in (
        nn.Sequential(nn.Linear(3, 2), nn.ReLU()), nn.Sequential(nn.Linear(3, 2, bias=False)),
        nn.Sequential(shared, nn.ReLU(), shared), nn.Sequential(nn.ReLU(), nn.Linear(3, 2)), nn.Linear(3, 2),
    ):  # fmt: skip
        assert shapes_of(module, Loss.CLASSES) is None
    assert shapes_of(nn.Sequential(nn.Linear(3, 2)), Loss.BINARY) is None


@pytest.mark.parametrize("loss", list(Loss))
def test_the_slope_is_the_losss_derivative(loss: Loss) -> None:
    torch.manual_seed(3)
    labels = torch.randint(0, 2, (2, 5)).double()
    logits = torch.randn(2, 5, 4 if loss is Loss.CLASSES else 1, dtype=torch.float64, requires_grad=True)
    outputs = logits.flatten(0, 1)
    (expected,) = torch.autograd.grad(per_record(loss, outputs, labels.flatten()).sum(), logits)
    torch.testing.assert_close(slope(loss, logits.detach(), labels), expected)


def test_a_client_without_rows_does_not_move() -> None:
    job = job_of(recipe("mlp", {"widths": "5,7,3"}), (4, 0, 9), (5,))
    updates = updates_by(fused.train, job)
    assert not updates[1].any()
    assert np.isfinite(updates.numpy()).all()


def test_private_and_plain_do_not_share_an_execution() -> None:
    job = job_of(recipe("mlp", {"widths": "5,7,3"}, batch=100), (6, 6), (5,))
    assert difference(job, fused_private.train, fused.train) > 1e-3
