"""Worker processes that train parts of a round: each has one resident module, all read the same rows.

Rows, base model and updates lie in memory that parent and workers share (memfd: it has no name, and is gone when the
last process is). What to do travels as lines of JSON. Workers are started by their own module, so a user's script
needs no `__main__` guard; the secret streams of private training are keyed in the worker, by its operating system.

Parts are dealt out greedily: the largest first, each to the worker with the least to do.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import torch

import fedchain
from fedchain.adapters.training.engine.recipe import Part, Recipe, Rows
from fedchain.core.errors import InputError

DONE: Final = "done"

KEPT: Final = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 25)}
"""Bytes of freed memory that a worker keeps: glibc gives a step's tensors back to the kernel otherwise, and gets them
again page by page in the next, which took a seventh of a convolution's processor time. 2^25 is the most that it takes.
"""


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
    def make(cls, shape: Sequence[int], dtype: torch.dtype) -> Shared:
        """Return new shared memory; pages that nobody writes take no memory."""
        descriptor = os.memfd_create("fedchain-engine")
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

    def __init__(self, recipe: Recipe, rows: Rows, *, workers: int, most: int) -> None:
        self.recipe, self._starts = recipe, rows.starts
        self._parameters = sum(each.numel() for each in recipe.module().parameters())
        shapes = (tuple(rows.x.shape), tuple(rows.y.shape), (self._parameters,), (most, self._parameters))
        self._shared = [Shared.make(shape, recipe.dtype) for shape in shapes]
        for shared, tensor in zip(self._shared, (rows.x, rows.y), strict=False):
            shared.tensor.copy_(tensor)
        layout = Layout(recipe, rows.starts, shapes, tuple(each.descriptor for each in self._shared))
        self._is_busy = False
        self._workers = [_started(layout) for _ in range(workers)]

    @property
    def rows(self) -> Rows:
        """The rows in shared memory."""
        return Rows(self._shared[0].tensor, self._shared[1].tensor, self._starts)

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return [worker.pid for worker in self._workers]

    def train(self, base: torch.Tensor, parts: Sequence[Part]) -> tuple[torch.Tensor, list[int]]:
        """Return the updates (parts, parameters) and the row of each part.

        The rows lie in memory that the next call overwrites, each worker's together.

        Raises:
            InputError: if a worker died; its own message is on standard error.
        """
        self._shared[2].tensor.copy_(base)
        self._is_busy = True
        busy, row_of, first = [], [0] * len(parts), 0
        for worker, chosen in zip(self._workers, dealt(parts, self.rows, len(self._workers)), strict=True):
            if chosen:
                _tell(worker, json.dumps({"first": first, "parts": [asdict(parts[place]) for place in chosen]}))
                busy.append(worker)
            for row, place in enumerate(chosen, start=first):
                row_of[place] = row
            first += len(chosen)
        for worker in busy:
            if _heard(worker) != DONE:
                raise InputError("a training worker ended", expected=DONE, got=f"exit code {worker.wait()}")
        self._is_busy = False
        return self._shared[3].tensor[: len(parts)], row_of

    def close(self) -> None:
        """End the workers and give the memory back."""
        for worker in self._workers:
            with contextlib.suppress(BrokenPipeError):  # it died, and `train` has said so
                _pipe(worker.stdin).close()
            if self._is_busy:  # nobody waits for this round any more
                worker.kill()
            worker.wait()
            _pipe(worker.stdout).close()
        for shared in self._shared:
            os.close(shared.descriptor)
        self._workers, self._shared = [], []


def dealt(parts: Sequence[Part], rows: Rows, workers: int) -> list[list[int]]:
    """Return each worker's parts by index, ascending: the largest part goes first, to who has least."""
    load = [0] * workers
    hands: list[list[int]] = [[] for _ in range(workers)]
    for place in sorted(range(len(parts)), key=lambda each: -rows.count(parts[each].client)):
        least = load.index(min(load))
        load[least] += max(1, rows.count(parts[place].client))
        hands[least].append(place)
    return [sorted(hand) for hand in hands]


def _started(layout: Layout) -> subprocess.Popen[str]:
    environment: Mapping[str, str] = {
        **KEPT,
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PYTHONPATH": os.pathsep.join([str(Path(fedchain.__file__).parents[1]), *sys.path]),
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "fedchain.adapters.training.engine.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, pass_fds=layout.descriptors, text=True,
        start_new_session=True,  # an interrupt from the keyboard is the parent's, who ends the workers
    )  # fmt: skip
    _tell(worker, layout.to_line())
    return worker


def _tell(worker: subprocess.Popen[str], line: str) -> None:
    pipe = _pipe(worker.stdin)
    try:
        pipe.write(line + "\n")
        pipe.flush()
    except BrokenPipeError as error:
        raise InputError("a training worker ended", got=f"exit code {worker.wait()}") from error


def _heard(worker: subprocess.Popen[str]) -> str:
    return _pipe(worker.stdout).readline().strip()


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise AssertionError("a worker has both pipes")
    return pipe
