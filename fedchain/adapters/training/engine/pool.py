"""Worker processes that train parts of a round: each has one resident module, all read the same rows.

Rows, base model and updates lie in memory that parent and workers share. What to do travels as lines of JSON. Workers
are started by their own module (`crew`), so a user's script needs no `__main__` guard; the secret streams of private
training are keyed in the worker, by its operating system.

Parts are dealt out greedily: the largest first, each to the worker with the least to do.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch

from fedchain.adapters.training.engine.crew import Crew
from fedchain.adapters.training.engine.recipe import Part, Recipe, Rows

DONE: Final = "done"


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """A tensor in memory that other processes map by its file descriptor."""

    descriptor: int
    tensor: torch.Tensor

    @classmethod
    def of(cls, descriptor: int, shape: Sequence[int], dtype: torch.dtype) -> Shared:
        """Map a descriptor."""
        size = torch.Size(shape).numel()
        memory = mmap.mmap(descriptor, max(1, size * dtype.itemsize))
        return cls(descriptor, torch.frombuffer(memory, dtype=dtype, count=size).view(shape))

    @classmethod
    def make(cls, descriptor: int, shape: Sequence[int], dtype: torch.dtype) -> Shared:
        """Give a descriptor of nothing as much memory as it needs; pages that nobody writes take none."""
        os.ftruncate(descriptor, max(1, torch.Size(shape).numel() * dtype.itemsize))
        return cls.of(descriptor, shape, dtype)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a worker has to know once: the recipe, the shared tensors' shapes and descriptors."""

    recipe: Recipe
    starts: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]
    descriptors: tuple[int, ...]

    def to_line(self) -> str:
        """Return this as one line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, line: str) -> Layout:
        """Read a line of JSON that `to_line` made."""
        raw: dict[str, Any] = json.loads(line)
        shapes = tuple(tuple(shape) for shape in raw["shapes"])
        return cls(Recipe.of(raw["recipe"]), tuple(raw["starts"]), shapes, tuple(raw["descriptors"]))


class Pool:
    """Workers for one recipe and one set of rows; `most` is the largest number of parts in a round."""

    def __init__(self, recipe: Recipe, rows: Rows, crew: Crew, *, most: int) -> None:
        self.recipe, self._starts, self._crew = recipe, rows.starts, crew
        self._parameters = sum(each.numel() for each in recipe.module().parameters())
        shapes = (tuple(rows.x.shape), tuple(rows.y.shape), (self._parameters,), (most, self._parameters))
        descriptors = crew.descriptors
        self._shared = [
            Shared.make(descriptor, shape, recipe.dtype) for descriptor, shape in zip(descriptors, shapes, strict=True)
        ]
        for shared, tensor in zip(self._shared, (rows.x, rows.y), strict=False):
            shared.tensor.copy_(tensor)
        self._is_busy = False
        line = Layout(recipe, rows.starts, shapes, descriptors).to_line()
        for worker in range(len(crew)):
            crew.tell(worker, line)

    @property
    def rows(self) -> Rows:
        """The rows in shared memory."""
        return Rows(self._shared[0].tensor, self._shared[1].tensor, self._starts)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return self._crew.pids

    def train(self, base: torch.Tensor, parts: Sequence[Part]) -> tuple[torch.Tensor, list[int]]:
        """Return the updates (parts, parameters) and the row of each part.

        The rows lie in memory that the next call overwrites, each worker's together.

        Raises:
            InputError: if a worker ended; its own message is on standard error.
        """
        self._shared[2].tensor.copy_(base)
        self._is_busy = True
        busy, row_of, first = [], [0] * len(parts), 0
        for worker, chosen in enumerate(dealt(parts, self.rows, len(self._crew))):
            if chosen:
                self._crew.tell(worker, json.dumps({"first": first, "parts": [asdict(parts[at]) for at in chosen]}))
                busy.append(worker)
            for row, place in enumerate(chosen, start=first):
                row_of[place] = row
            first += len(chosen)
        for worker in busy:
            if (answer := self._crew.hear(worker)) != DONE:
                raise AssertionError(f"a worker says {DONE}, not {answer}")
        self._is_busy = False
        return self._shared[3].tensor[: len(parts)], row_of

    def close(self) -> None:
        """End the workers and give the memory back."""
        self._crew.close(is_busy=self._is_busy)  # nobody waits for a round that is not over
        self._shared = []


def dealt(parts: Sequence[Part], rows: Rows, workers: int) -> list[list[int]]:
    """Return each worker's parts by index, ascending: the largest part goes first, to who has least."""
    load = [0] * workers
    hands: list[list[int]] = [[] for _ in range(workers)]
    for place in sorted(range(len(parts)), key=lambda each: -rows.count(parts[each].client)):
        least = load.index(min(load))
        load[least] += max(1, rows.count(parts[place].client))
        hands[least].append(place)
    return [sorted(hand) for hand in hands]
