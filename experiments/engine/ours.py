"""The engine as a contender: in this process, or in a pool of workers."""

from __future__ import annotations

import os
from collections.abc import Sequence

import torch

from experiments.engine.measure import Contender
from experiments.engine.workloads import BATCH, BOUND, NOISE, RATE, Workload
from fedchain.adapters.training.engine.choice import choose
from fedchain.adapters.training.engine.crew import Crew
from fedchain.adapters.training.engine.pool import Pool
from fedchain.adapters.training.engine.recipe import Job, Part, Recipe, Rows
from fedchain.adapters.training.losses import Loss


def recipe_of(workload: Workload) -> Recipe:
    """Return how the workload trains."""
    factory = f"experiments.engine.workloads:{workload.model}"
    return Recipe(factory, {}, Loss.CLASSES, BATCH, 1, RATE, BOUND, "float32")


def in_process(workload: Workload, rows: Rows, *, is_private: bool) -> Contender:
    """Return the engine on one thread of this process."""
    recipe = recipe_of(workload)
    module = recipe.module()
    choice = choose(module, recipe, is_private=is_private)
    if choice is None:
        raise AssertionError(f"no execution for {workload.name}")

    out = torch.empty(workload.cohort, sum(each.numel() for each in module.parameters()))

    def total(base: torch.Tensor, cohort: Sequence[int]) -> torch.Tensor:
        choice.run(Job(recipe, module, rows, base, _parts(workload, cohort, is_private=is_private), os.urandom), out)
        return out.sum(0)

    return Contender(total)


def in_workers(workload: Workload, rows: Rows, crew: Crew, *, is_private: bool) -> tuple[Contender, Pool]:
    """Return the engine on workers, and the pool to be closed."""
    pool = Pool(recipe_of(workload), rows, crew, most=workload.cohort)

    def total(base: torch.Tensor, cohort: Sequence[int]) -> torch.Tensor:
        updates, _ = pool.train(base, _parts(workload, cohort, is_private=is_private))
        return updates.sum(0)

    return Contender(total, pool.pids), pool


def _parts(workload: Workload, cohort: Sequence[int], *, is_private: bool) -> list[Part]:
    steps = -(-workload.rows // BATCH)
    noise = NOISE if is_private else 0.0
    return [Part(client, f"0/1/{client}", workload.rows, steps, steps, noise) for client in cohort]
