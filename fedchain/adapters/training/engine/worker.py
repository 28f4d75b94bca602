"""The workers' program: forks into them, each of which reads its layout and then rounds, and answers each with a line.

Numbers on the command line are descriptors, two for each worker: one to read from and one to answer to.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import IO, NoReturn

import torch

from fedchain.adapters.training.engine.choice import choose
from fedchain.adapters.training.engine.pool import DONE, Layout, Shared
from fedchain.adapters.training.engine.recipe import Job, Part, Rows
from fedchain.core.errors import InputError


def main(descriptors: Sequence[int]) -> NoReturn:
    """Fork, name the workers on standard output, and wait until they end.

    All leave without tidying up: that would touch, and so copy, each page that they share.
    """
    torch.set_num_threads(1)
    workers: list[int] = []
    for pair in zip(descriptors[::2], descriptors[1::2], strict=True):
        worker = os.fork()
        if not worker:
            for other in set(descriptors) - set(pair):
                os.close(other)  # else nobody would see that its worker has ended
            serve(*pair)
            os._exit(0)
        workers.append(worker)
    for each in descriptors:
        os.close(each)
    sys.stdout.write(f"{' '.join(map(str, workers))}\n")
    sys.stdout.flush()
    os._exit(ended(workers))


def ended(workers: list[int]) -> int:
    """Wait for the workers; where one fails, end the others and return its exit code, 128 + n for signal n."""
    left, code = list(workers), 0
    while left:
        worker, status = os.wait()
        left.remove(worker)
        if status and not code:
            raw = os.waitstatus_to_exitcode(status)
            code = raw if raw > 0 else 128 - raw
            for each in left:
                os.kill(each, signal.SIGKILL)
    return code


def serve(orders: int, answers: int) -> None:
    """Serve rounds until there are no more orders."""
    os.dup2(2, 1)  # what a model prints is no answer, and does not keep the pipe of the first process open
    with os.fdopen(orders) as lines, os.fdopen(answers, "w") as answer:
        first = lines.readline()
        if first:  # else there is no round at all
            _rounds(Layout.from_line(first), lines, answer)


def _rounds(layout: Layout, lines: IO[str], answer: IO[str]) -> None:
    recipe = layout.recipe
    module = recipe.module()
    x, y, base, updates = (
        Shared.of(descriptor, shape, recipe.dtype).tensor
        for descriptor, shape in zip(layout.descriptors, layout.shapes, strict=True)
    )
    rows = Rows(x, y, layout.starts)
    for line in lines:
        order = json.loads(line)
        parts = [Part(**each) for each in order["parts"]]
        is_private = parts[0].noise_multiplier > 0
        choice = choose(module, recipe, is_private=is_private)
        if choice is None:
            raise InputError("model", expected="layers that an execution takes", got=type(module).__name__)
        out = updates[order["first"] : order["first"] + len(parts)]
        choice.run(Job(recipe, module, rows, base, parts, os.urandom), out)
        with contextlib.suppress(BrokenPipeError):  # the parent was killed; there are no more lines either
            answer.write(DONE + "\n")
            answer.flush()


if __name__ == "__main__":
    main([int(text) for text in sys.argv[1:]])
