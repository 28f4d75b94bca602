"""The engine as a simulation sees it: partitions by name in, the updates of a round out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.engine.choice import choose
from fedchain.adapters.training.engine.crew import Crew
from fedchain.adapters.training.engine.pool import Pool
from fedchain.adapters.training.engine.recipe import LISTED, LOADED, Job, Part, Recipe, Rows
from fedchain.adapters.training.engine.stack import shapes_of
from fedchain.adapters.training.losses import Loss, classes_of, one_a_row
from fedchain.adapters.training.models import build, initial
from fedchain.adapters.training.modules import CUSTOM, NO_MAKERS, Makers
from fedchain.adapters.training.secret_stream import Secret
from fedchain.adapters.training.trainer import (
    OFF,
    check_private,
    check_release,
    order_label,
    positive,
    single_threaded,
)
from fedchain.core.control import NO_CORRECTION
from fedchain.core.errors import InputError
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound

DOUBLE: Final = "float64"


@dataclass(frozen=True, slots=True, eq=False)
class Updates(Mapping[str, FloatTensors]):
    """The rows of a matrix (clients, parameters) as updates by client, made float64 when they are read."""

    clients: Mapping[str, int]
    matrix: torch.Tensor
    shapes: Mapping[str, tuple[int, ...]]

    def __getitem__(self, client: str) -> FloatTensors:
        pieces = torch.split(
            self.matrix[self.clients[client]].double(), [_size(shape) for shape in self.shapes.values()]
        )
        return {
            name: piece.numpy().reshape(shape) for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def stacked(self) -> FloatTensors:
        """Return all updates at once, each tensor with one axis more in front: the clients in their order."""
        rows = self.matrix[list(self.clients.values())].double()
        pieces = torch.split(rows, [_size(shape) for shape in self.shapes.values()], dim=1)
        return {
            name: piece.contiguous().numpy().reshape(len(rows), *shape)
            for (name, shape), piece in zip(self.shapes.items(), pieces, strict=True)
        }

    def __iter__(self) -> Iterator[str]:
        return iter(self.clients)

    def __len__(self) -> int:
        return len(self.clients)


class CohortEngine:
    """Trains cohorts of the given partitions, in this process (`workers` = 1) or in a pool of worker processes.

    `secret` is os.urandom; only tests put another in its place, and workers key their own streams. `makers` are the
    models of one's own that may be trained; workers load theirs by their targets.

    With `is_resident` false, partitions are asked for when their client is in a round, and forgotten after it: so
    memory does not grow with the clients that are registered. That is for this process only.
    """

    def __init__(
        self,
        partitions: Mapping[str, Partition],
        workers: int = 1,
        secret: Secret = os.urandom,
        makers: Makers = NO_MAKERS,
        *,
        is_resident: bool = True,
    ) -> None:
        if workers > 1 and not is_resident:
            raise InputError("workers of an engine that keeps no rows", expected=1, got=workers)
        self._partitions = dict(partitions) if is_resident else partitions
        self._workers, self._secret, self._makers = workers, secret, makers
        self._kept = _Kept.of(self._partitions) if is_resident else None
        self._pool: Pool | None = None
        self._crew = Crew(workers) if workers > 1 else None  # they load torch while sites are checked

    def refusal(self, training: LocalTraining) -> str:
        """Return why the engine does not train so, in words; "" where it does.

        Raises:
            InputError: if the model cannot be made, or does not fit the rows or their labels.
        """
        if training.correction != NO_CORRECTION:
            return "strategy scaffold corrects each step by controls that only the sites have"
        base = initial(training.model, training.model_options, training.seed, self._makers)
        module = build(training.model, training.model_options, base, self._makers)
        rows = self._kept.rows if self._kept is not None else _Kept.of(self._first()).rows
        _check_fit(module, training, rows)
        parameters = dict(module.named_parameters())
        recipe, is_private = recipe_of(training), training.epsilon != OFF
        shapes = shapes_of(module, recipe.loss)
        if base.keys() != parameters.keys() or next(module.named_buffers(), None) is not None:
            return "it exchanges or freezes more than parameters"
        if not all(each.requires_grad for each in parameters.values()):
            return "some of its parameters are not trained"
        if shapes is not None and shapes[0].inputs != rows.x[:1].numel():
            return "its first layer sees a part of a row at a time"
        if choose(module, recipe, is_private=is_private) is None:
            return "it has layers or a forward function that no execution takes with differential privacy"
        return ""

    def train(self, base: FloatTensors, rounds: Mapping[str, LocalRound]) -> Updates:
        """Return each client's update, float64 by tensor name; see `fedchain.ports.training.Engine`.

        `refusal` must have had nothing against the training.
        """
        if not rounds:
            return Updates({}, torch.empty(0, 0), {})
        sites = self._sites(rounds)
        training = _checked(rounds, sites)
        module = build(training.model, training.model_options, base, self._makers)
        shapes = {name: tuple(each.shape) for name, each in module.named_parameters()}
        flat = torch.cat([each.detach().reshape(-1) for each in module.parameters()])
        kept = self._kept
        if kept is None:
            kept = _Kept.of(sites)
            _check_fit(module, training, kept.rows)  # `refusal` has not seen these labels
        parts = [_part(kept.numbers[name], local, sites[name]) for name, local in rounds.items()]
        recipe = recipe_of(training)
        is_private = training.epsilon != OFF
        if is_private:
            check_private(module)
        choice = choose(module, recipe, is_private=is_private)
        if choice is None:
            raise InputError("model under differential privacy", expected="layers that the engine takes")
        if self._workers > 1:
            matrix, rows = self._pool_of(recipe, kept).train(flat, parts)
            return Updates(dict(zip(rounds, rows, strict=True)), matrix.clone(), shapes)
        matrix = torch.empty(len(parts), len(flat), dtype=recipe.dtype)
        with single_threaded():
            choice.run(Job(recipe, module, kept.rows, flat, parts, self._secret), matrix)
        return Updates({name: row for row, name in enumerate(rounds)}, matrix, shapes)

    def close(self) -> None:
        """End the workers."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        if self._crew is not None:
            self._crew.close(is_busy=True)  # they may still be loading
            self._crew = None

    def _sites(self, rounds: Mapping[str, LocalRound]) -> Mapping[str, Partition]:
        for name in rounds:
            if name not in self._partitions:
                raise InputError("client", expected="one of this engine's partitions", got=name[:80])
        return {name: self._partitions[name] for name in rounds}

    def _first(self) -> Mapping[str, Partition]:
        name = next(iter(self._partitions))
        return {name: self._partitions[name]}

    def _pool_of(self, recipe: Recipe, kept: _Kept) -> Pool:
        """Return the workers of this recipe; those of an earlier one are ended."""
        if self._pool is None or self._pool.recipe != recipe:
            if self._pool is not None:
                self._pool.close()
            crew, self._crew = self._crew or Crew(self._workers), None
            self._pool = Pool(recipe, kept.rows, crew, most=len(self._partitions))
            self._kept = _Kept(self._pool.rows, kept.numbers)  # the shared ones, not a second copy
        return self._pool


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """Rows of some clients, side by side, and which is whose."""

    rows: Rows
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, sites: Mapping[str, Partition]) -> _Kept:
        pairs = [(torch.from_numpy(each.train_x), torch.from_numpy(each.train_y)) for each in sites.values()]
        return cls(Rows.of(pairs, torch.float64), {name: number for number, name in enumerate(sites)})


def _checked(rounds: Mapping[str, LocalRound], sites: Mapping[str, Partition]) -> LocalTraining:
    first = next(iter(rounds.values())).training
    for name, local in rounds.items():
        if local.training != first:
            raise InputError("training", expected="the same for all clients of a round", got=f"{name}'s own")
        if local.correction is not None:
            raise InputError("training by the engine", expected="no correction", got=f"one of {name}")
        check_release(local)
        inputs, wanted = first.model_options.get("inputs"), sites[name].inputs
        if inputs != wanted:
            raise InputError("model.inputs", expected=f"{wanted} features", got=inputs)
    return first


def _check_fit(module: nn.Module, training: LocalTraining, kept: Rows) -> None:
    """Refuse outputs of another shape than the task's, and labels that are no classes."""
    rows, labels = kept.x[:2], kept.y
    with single_threaded(), torch.no_grad():
        outputs: torch.Tensor = module.eval()(rows)
    module.train()
    if training.task == Loss.CLASSES:
        classes_of(outputs[:1].expand(len(labels), *outputs.shape[1:]), labels)
    else:
        one_a_row(outputs, len(rows))


def _part(number: int, local: LocalRound, partition: Partition) -> Part:
    release = local.release
    return Part(
        client=number,
        order=order_label(local.training, local.round, partition),
        nominal_size=local.nominal_size,
        batches_per_epoch=release.batches_per_epoch,
        steps=release.steps,
        noise_multiplier=release.noise_multiplier,
    )


def recipe_of(training: LocalTraining) -> Recipe:
    """Return how a round of this configuration trains: in float64, as the sites' own trainer does.

    Raises:
        InputError: if the learning rate, the clipping norm or the proximal term is no positive number.
    """
    is_private, is_own = training.epsilon != OFF, training.model == CUSTOM
    return Recipe(
        factory=LOADED if is_own else LISTED,
        options=training.model_options if is_own else {"model": training.model, **training.model_options},
        loss=Loss(training.task),
        batch_size=training.batch_size,
        epochs=training.epochs,
        learning_rate=positive("strategy.learning_rate", training.learning_rate),
        max_grad_norm=positive("privacy.max_grad_norm", training.max_grad_norm) if is_private else 1.0,
        precision=DOUBLE,
        updates=training.updates,
        proximal=0.0 if training.proximal == "0" else positive("strategy.proximal", training.proximal),
    )


def products_of(training: LocalTraining, partition: Partition, makers: Makers) -> int:
    """Return the multiplications of linear layers and convolutions that one row takes forwards."""
    base = initial(training.model, training.model_options, training.seed, makers)
    module, products = build(training.model, training.model_options, base, makers).eval(), [0]

    def count(layer: nn.Linear | nn.Conv1d | nn.Conv2d, _rows: object, outputs: torch.Tensor) -> None:
        products.append(outputs.numel() * layer.weight[0].numel())

    for each in module.modules():
        if isinstance(each, nn.Linear | nn.Conv1d | nn.Conv2d):
            each.register_forward_hook(count)
    with torch.no_grad():
        module(torch.from_numpy(partition.train_x[:1]).double())
    return sum(products)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()
