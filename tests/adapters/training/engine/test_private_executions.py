"""DP-SGD on every execution: Opacus' clipped sums, the charged steps and divisor, noise of each client's own."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from opacus import GradSampleModule
from scipy import stats

from fedchain.adapters.training.clipping import clipped_sum
from fedchain.adapters.training.engine import bookkeeping, fused_private, vmapped
from fedchain.adapters.training.engine.recipe import Execution, Job
from fedchain.adapters.training.losses import per_record
from tests.adapters.training.engine.samples import empty, job_of, recipe

UNEVEN = (21, 8, 3, 16, 1)
MLP = recipe("mlp", {"widths": "5,7,4,3"})
TANH = recipe("tanh", {"widths": "5,3"})
CONVOLUTION = recipe("convolution", {"classes": "3"})
Case = tuple[Execution, Callable[[float], Job]]
CASES: dict[str, Case] = {
    "fused": (fused_private.train, lambda noise: job_of(MLP, UNEVEN, (5,), noise)),
    "vmapped": (vmapped.train_privately, lambda noise: job_of(TANH, UNEVEN, (5,), noise)),
    "vmapped stack": (vmapped.train_privately, lambda noise: job_of(MLP, UNEVEN, (5,), noise)),
    "bookkeeping": (bookkeeping.train, lambda noise: job_of(CONVOLUTION, UNEVEN, (3, 16), noise)),
    "bookkeeping stack": (bookkeeping.train, lambda noise: job_of(MLP, UNEVEN, (5,), noise)),
}
EACH = pytest.mark.parametrize("case", list(CASES.values()), ids=list(CASES))


def updates_by(execution: Execution, job: Job) -> torch.Tensor:
    out = empty(job)
    execution(job, out)
    return out


def sums_of(job: Job, updates: torch.Tensor) -> torch.Tensor:
    """What was divided by the public batch, (clients, parameters): one step's clipped sum with its noise."""
    batches = torch.tensor([part.expected_batch for part in job.parts], dtype=updates.dtype)
    return -updates * batches[:, None] / job.recipe.learning_rate


def by_opacus(job: Job, client: int) -> torch.Tensor:
    """One client's clipped sum, its gradients per record from Opacus' hooks."""
    x, y = job.rows[client]
    hooked = GradSampleModule(job.recipe.module(), loss_reduction="sum")
    for parameter, piece in zip(hooked.parameters(), job.module.parameters(), strict=True):
        parameter.data.copy_(piece)
    torch.autograd.backward(per_record(job.recipe.loss, hooked(x.clone().requires_grad_()), y).sum())
    gradients = [each.grad_sample for each in hooked.parameters()]
    return torch.cat([each.flatten() for each in clipped_sum(gradients, job.recipe.max_grad_norm)])


@EACH
@pytest.mark.parametrize("bound", [0.05, 1.0, 100.0], ids=["all clipped", "some clipped", "none clipped"])
def test_the_clipped_sums_are_opacus_own(case: Case, bound: float) -> None:
    execution, make = case
    job = make(0.0)
    job = replace(job, recipe=replace(job.recipe, max_grad_norm=bound))
    expected = torch.stack([by_opacus(job, part.client) for part in job.parts])
    torch.testing.assert_close(sums_of(job, updates_by(execution, job)), expected, rtol=1e-8, atol=2e-8 * bound)


@EACH
def test_one_step_is_never_larger_than_the_number_of_records_allows(case: Case) -> None:
    execution, make = case
    job = make(0.0)
    norms = sums_of(job, updates_by(execution, job)).norm(dim=1)
    counts = torch.tensor([float(job.rows.count(part.client)) for part in job.parts], dtype=norms.dtype)
    assert (norms <= counts * job.recipe.max_grad_norm).all()


@EACH
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e300])
def test_a_hostile_row_counts_for_at_most_the_bound_and_for_no_other_client(case: Case, value: float) -> None:
    execution, make = case
    job = make(0.0)
    clean = sums_of(job, updates_by(execution, job))
    job.rows.x[job.rows.starts[1]] = value
    spoiled = sums_of(job, updates_by(execution, job))
    assert torch.isfinite(spoiled).all()
    assert (spoiled[1] - clean[1]).norm() <= 2 * job.recipe.max_grad_norm
    torch.testing.assert_close(spoiled[[0, 2, 3, 4]], clean[[0, 2, 3, 4]], rtol=1e-12, atol=1e-13)


@EACH
def test_noise_has_the_charged_deviation_for_every_client_and_step(case: Case) -> None:
    execution, make = case
    quiet = make(0.0)
    job = replace(quiet, recipe=replace(quiet.recipe, learning_rate=1e-9, max_grad_norm=0.5))
    steps = [1, 4, 2, 3, 4]
    noise = [1.0, 2.0, 0.5, 1.5, 3.0]

    def moved(multipliers: list[float]) -> torch.Tensor:
        parts = [
            replace(part, steps=count, noise_multiplier=each)
            for part, count, each in zip(job.parts, steps, multipliers, strict=True)
        ]
        return sums_of(job, updates_by(execution, replace(job, parts=parts)))

    still = moved([0.0] * 5)
    for client, drawn in enumerate(moved(noise) - still):
        deviation = noise[client] * 0.5 * math.sqrt(steps[client])
        assert stats.kstest(drawn.numpy() / deviation, "norm").pvalue > 1e-9
        chi_square = float((drawn / deviation).square().sum())
        assert 1e-9 < stats.chi2.cdf(chi_square, drawn.numel()) < 1 - 1e-9


@EACH
def test_every_client_has_a_stream_of_its_own(case: Case) -> None:
    execution, make = case
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    job = replace(make(1.0), secret=counted)
    updates_by(execution, job)
    assert asked == [32] * len(UNEVEN)


@EACH
def test_the_noise_is_a_function_of_the_keys_alone(case: Case) -> None:
    execution, make = case
    job = replace(make(1.0), secret=bytes)
    first = updates_by(execution, job)
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert updates_by(execution, job).equal(first)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.isclose(updates_by(execution, replace(job, secret=os.urandom)), first, rtol=1e-6).all()


@pytest.mark.slow
@EACH
def test_rows_are_sampled_at_the_charged_rate(case: Case) -> None:
    execution, make = case
    job = make(0.0)
    # So small a step that every one of them sees the gradients of the first.
    job = replace(job, recipe=replace(job.recipe, learning_rate=1e-12, max_grad_norm=1e-3))
    sparse = replace(job, parts=[replace(part, batches_per_epoch=4, steps=150) for part in job.parts])
    often, always = (sums_of(each, updates_by(execution, each)) for each in (sparse, job))
    rates = (often * always).sum(1) / always.square().sum(1) / 150
    assert torch.allclose(rates, torch.full_like(rates, 0.25), atol=0.18)
