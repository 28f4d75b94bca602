"""Populations of one's own: what is refused, and that clients trained together are those trained one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fedchain.adapters.datasets.own import sandbox
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.datasets.population import Roll, make_population
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.models import initial
from fedchain.adapters.training.population import PopulationTrainer
from fedchain.adapters.training.trainer import ONE_AT_A_TIME, TorchTrainer
from fedchain.core.errors import InputError
from fedchain.core.policy import DatasetCard
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.ports.training import LocalRound

SIZES = [20, 33, 7, 64, 12, 50]
TRAINING = LocalTraining("mlp", {"inputs": "4", "hidden": "5"}, 2, 16, "0.1", "off", 10_000_000, "1", 5, 1)


def rows_of(client: int) -> tuple[Any, Any]:
    draws = np.random.default_rng(client)
    x = draws.normal(size=(SIZES[client], 4))
    return x, x[:, 0] > 0


def site(roll: Roll | None = None, **changes: Any) -> Partition:
    return make_population("plant", rows_of, sandbox("machines", "made up"), roll or Roll(6, SIZES, 3), **changes)


def test_a_population_registers_all_rows_and_counts_batches_by_its_smallest_client() -> None:
    made = site()
    assert made.population is not None
    assert (made.card.nominal_size, made.trained_rows, made.population.roster.drawn) == (sum(SIZES), 7, 3)
    assert made.card.files["roster"] == made.population.tree.root.hex()
    assert made.inputs == "4"
    assert len(made.test_y) == 0


@pytest.mark.parametrize("kind", ["resident", "asked for"])
def test_clients_are_trained_as_each_by_itself_and_stacked_in_their_order(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "asked for":
        monkeypatch.setattr("fedchain.adapters.training.population.RESIDENT_BYTES", 0)
    made = site()
    trainer = PopulationTrainer(made, 1, {})
    assert trainer.refusal(TRAINING) == ""
    base = initial(TRAINING.model, TRAINING.model_options, TRAINING.seed)
    clients = (1, 3, 4)
    batches = batches_per_epoch(7, 16)
    stacked = trainer.train(base, LocalRound(TRAINING, Release(0, batches, batches), 2, 7, clients=clients))
    for place, client in enumerate(clients):
        own = _alone(made, client)
        of_client = batches_per_epoch(SIZES[client], 16)
        release = Release(0, of_client, TRAINING.steps(of_client))
        update = TorchTrainer(own).train(base, LocalRound(TRAINING, release, 2, SIZES[client]))
        for name, array in update.items():
            np.testing.assert_allclose(stacked[name][place], array, rtol=1e-9, atol=1e-12)


def _alone(made: Partition, client: int) -> Partition:
    x, y = rows_of(client)
    card = DatasetCard(f"{made.card.name}/{client}", {}, SIZES[client])
    floats = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return replace(made, train_x=floats[0], train_y=floats[1], card=card, population=None)


def test_with_privacy_every_client_takes_the_charged_steps_at_the_charged_rate() -> None:
    private = replace(TRAINING, epsilon="8", max_grad_norm="0.000001")
    batches = batches_per_epoch(7, 16)
    base = initial(private.model, private.model_options, private.seed)
    local = LocalRound(private, Release(1_000_000, batches, private.steps(batches)), 2, 7, clients=(0, 2, 5))
    stacked = PopulationTrainer(site(), 1, {}).train(base, local)
    # Two steps of 0.1, of at most 50 clipped gradients and noise of one bound, by the public batch of 7.
    flat = np.concatenate([each.reshape(3, -1) for each in stacked.values()], axis=1)
    deviation = 2**0.5 * 0.1 * 1e-6 / 7
    assert np.abs(flat).max() < 2 * 0.1 * (50 + 8) * 1e-6 / 7
    assert np.all(flat.std(axis=1) > deviation / 4)
    assert len({row.tobytes() for row in flat}) == 3


@pytest.mark.parametrize(
    ("roll", "message"),
    [
        (Roll(1, 5, 1), "population plant: expected 2 to 16777216 clients, at least one of them drawn .*got 1 of 1"),
        (Roll(6, SIZES, 7), "got 7 of 6"),
        (Roll(6, SIZES, 0), "got 0 of 6"),
        (Roll(6, [*SIZES, 1], 3), "rows of the clients of plant: expected 6 numbers from 1 on.*got 7 numbers"),
        (Roll(6, [*SIZES[:5], 0], 3), "got 6 numbers, 136 in all"),
        (Roll(6, 2**31, 3), "4294967295 in all, got 6 numbers, 12884901888 in all"),
        (Roll(6, SIZES, 3, [b"short"] * 6), "commitments of plant: expected 6 of 32 bytes"),
        (Roll(6, 21, 3), "rows of client 0 of plant: expected 21, as registered, got 20"),
    ],
)
def test_a_roll_that_is_wrong_is_refused_in_one_line(roll: Roll, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        site(roll)
    assert "\n" not in str(caught.value)


def test_a_client_whose_rows_are_not_finite_is_refused_when_it_is_asked_for() -> None:
    def broken(client: int) -> tuple[Any, Any]:
        x, y = rows_of(client)
        return (np.full_like(x, np.nan) if client == 3 else x), y

    made = make_population("plant", broken, sandbox("machines", "made up"), Roll(6, SIZES, 3))
    assert made.population is not None
    with pytest.raises(InputError, match="rows of client 3 of plant: expected finite numbers"):
        made.population.rows_of(3)


def test_a_function_that_fails_for_a_client_is_said_in_one_line() -> None:
    def broken(client: int) -> tuple[Any, Any]:
        return rows_of(client if client < 3 else 99)

    made = make_population("plant", broken, sandbox("machines", "made up"), Roll(6, SIZES, 3))
    assert made.population is not None
    with pytest.raises(
        InputError, match=r"what makes the rows of plant failed with IndexError: .* \(test_populations.py, line"
    ):
        made.population.rows_of(3)


def test_populations_are_trained_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def alone(*_: Any) -> Any:
        assert ONE_AT_A_TIME.locked()
        raise KeyboardInterrupt

    monkeypatch.setattr(CohortEngine, "train", alone)
    with pytest.raises(KeyboardInterrupt):
        PopulationTrainer(site(), 1, {}).train({}, LocalRound(TRAINING, Release(0, 1, 2), 1, 7, clients=(0, 1)))
    assert not ONE_AT_A_TIME.locked()


def test_a_model_that_the_engine_does_not_take_says_why() -> None:
    def maker(**_: Any) -> nn.Module:
        made = nn.Sequential(nn.Linear(4, 1))
        made.register_buffer("scale", torch.ones(1))
        return made

    options = {"inputs": "4", "target": "mine:maker", "frozen": ""}
    own = replace(TRAINING, model="custom", model_options=options)
    refusal = PopulationTrainer(site(), 1, {"mine:maker": maker}).refusal(own)
    assert refusal == "it exchanges or freezes more than parameters"
