"""What the executions of a round share: how to train (recipe), who trains (parts), and on what (rows).

A recipe is plain values, so that a worker process can be told it: the module comes from a function that is named, its
numbers come from the round's base model.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import nn

from fedchain.adapters import targets
from fedchain.adapters.training.losses import Loss
from fedchain.adapters.training.models import build, initial
from fedchain.adapters.training.modules import make
from fedchain.adapters.training.secret_stream import Secret
from fedchain.core.errors import InputError

LISTED: Final = f"{__name__}:listed"
"""The factory of the models that fedchain has by name."""

LOADED: Final = f"{__name__}:loaded"
"""The factory of models of one's own, which a worker loads as the run that started it did."""

PRECISIONS: Final = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True, slots=True)
class Recipe:
    """How every client of a round trains. `max_grad_norm` means nothing to parts without noise.

    `updates` batches take the place of `epochs` where they are not 0; `proximal` is FedProx's mu.

    `factory` is "package.module:function"; called with `options`, it returns the module, whose numbers do not matter.
    """

    factory: str
    options: dict[str, str]
    loss: Loss
    batch_size: int
    epochs: int
    learning_rate: float
    max_grad_norm: float
    precision: str
    updates: int = 0
    proximal: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Recipe:
        """Return the recipe of plain values, as JSON carries them."""
        return cls(**{**values, "loss": Loss(values["loss"])})

    @property
    def dtype(self) -> torch.dtype:
        """The type in which rows, parameters and gradients are computed."""
        return PRECISIONS[self.precision]

    @property
    def pull(self) -> float:
        """The share of its way from the base that a parameter goes back at each step."""
        return self.learning_rate * self.proximal

    def module(self) -> nn.Module:
        """Return a new module in this precision.

        Raises:
            InputError: if the factory does not exist, or its module has state that no update carries.
        """
        place, _, name = self.factory.partition(":")
        try:
            factory: Callable[[Mapping[str, str]], nn.Module] = getattr(importlib.import_module(place), name)
        except (ImportError, AttributeError) as error:
            raise InputError("model factory", expected="package.module:function", got=self.factory[:80]) from error
        module = factory(self.options).to(self.dtype)
        buffers = [buffer_name for buffer_name, _ in module.named_buffers()]
        if buffers:
            raise InputError("model", expected="parameters only", got=f"buffers {', '.join(buffers[:4])}")
        return module


def listed(options: Mapping[str, str]) -> nn.Module:
    """Return the model that `options["model"]` names, made with the other options."""
    others = {key: value for key, value in options.items() if key != "model"}
    return build(options["model"], others, initial(options["model"], others, 0))


def loaded(options: Mapping[str, str]) -> nn.Module:
    """Return the model of one's own that `options["target"]` names, looked for in the working directory first."""
    target = options["target"]
    return make(options, {target: targets.load(target, Path.cwd())}, 0)


@dataclass(frozen=True, slots=True)
class Part:
    """One client's part in a round. `order` labels its order of batches; noise 0 means plain SGD.

    With noise, `steps` noisy sums are taken over Poisson samples of rate 1 / `batches_per_epoch`, and each is divided
    by nominal_size / batches_per_epoch. Without, epochs and batches follow from the recipe and the rows.
    """

    client: int
    order: str
    nominal_size: int
    batches_per_epoch: int
    steps: int
    noise_multiplier: float

    @property
    def expected_batch(self) -> float:
        """The public number that a noisy sum is divided by."""
        return self.nominal_size / self.batches_per_epoch


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The rows of all clients, one after the other: client i has those from starts[i] to starts[i + 1]."""

    x: torch.Tensor
    y: torch.Tensor
    starts: tuple[int, ...]

    @classmethod
    def of(cls, clients: Sequence[tuple[torch.Tensor, torch.Tensor]], dtype: torch.dtype) -> Rows:
        """Return the clients' rows and labels side by side."""
        ends = np.cumsum([len(y) for _, y in clients]).tolist()
        x = torch.cat([x for x, _ in clients]).to(dtype).contiguous()
        return cls(x, torch.cat([y for _, y in clients]).to(dtype).contiguous(), (0, *ends))

    def count(self, client: int) -> int:
        """Return the number of a client's rows."""
        return self.starts[client + 1] - self.starts[client]

    def __getitem__(self, client: int) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = slice(self.starts[client], self.starts[client + 1])
        return self.x[chosen], self.y[chosen]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A round's work: parts that start from one base, flat (parameters,) in the order of the module's parameters."""

    recipe: Recipe
    module: nn.Module
    rows: Rows
    base: torch.Tensor
    parts: Sequence[Part]
    secret: Secret

    def chunks(self, clients: int, out: torch.Tensor) -> Iterator[tuple[Job, torch.Tensor]]:
        """Yield the job in pieces of at most so many clients, each with its rows of `out`."""
        for start in range(0, len(self.parts), clients):
            some = self.parts[start : start + clients]
            piece = Job(self.recipe, self.module, self.rows, self.base, some, self.secret)
            yield piece, out[start : start + clients]


class Execution(Protocol):
    """Trains all parts of a job."""

    def __call__(self, job: Job, out: torch.Tensor) -> None:
        """Write each part's update (trained minus base) into its row of `out` (parts, parameters)."""
        ...


def sizes(module: nn.Module) -> list[int]:
    """Return the number of elements of each parameter."""
    return [each.numel() for each in module.parameters()]


def flat(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return tensors as one vector."""
    return torch.cat([each.detach().reshape(-1) for each in tensors])


def load(module: nn.Module, vector: torch.Tensor) -> None:
    """Put a flat vector into a module's parameters."""
    with torch.no_grad():
        for parameter, piece in zip(module.parameters(), torch.split(vector, sizes(module)), strict=True):
            parameter.copy_(piece.view_as(parameter))
