"""A worker process of the pool: reads its layout and then rounds from standard input, answers each with one line."""

from __future__ import annotations

import contextlib
import json
import os
import sys

import torch

from fedchain.adapters.training.engine.choice import choose
from fedchain.adapters.training.engine.pool import DONE, Layout, Shared
from fedchain.adapters.training.engine.recipe import Job, Part, Rows
from fedchain.core.errors import InputError


def main() -> int:
    """Serve rounds until standard input ends."""
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a model prints must not be read as an answer
    layout = Layout.from_line(sys.stdin.readline())
    recipe = layout.recipe
    module = recipe.module()
    x, y, base, updates = (
        Shared.of(descriptor, shape, recipe.dtype).tensor
        for descriptor, shape in zip(layout.descriptors, layout.shapes, strict=True)
    )
    rows = Rows(x, y, layout.starts)
    for line in sys.stdin:
        order = json.loads(line)
        parts = [Part(**each) for each in order["parts"]]
        is_private = parts[0].noise_multiplier > 0
        choice = choose(module, recipe, is_private=is_private)
        if choice is None:
            raise InputError("model", expected="layers that an execution takes", got=type(module).__name__)
        out = updates[order["first"] : order["first"] + len(parts)]
        choice.run(Job(recipe, module, rows, base, parts, os.urandom), out)
        with contextlib.suppress(BrokenPipeError):  # the parent was killed; there are no more lines either
            answers.write(DONE + "\n")
            answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
