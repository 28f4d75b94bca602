"""Where training computes: on the CPU, or on a GPU that torch knows as "cuda".

Secrets are drawn on the CPU in either case, by `fedchain.adapters.training.secret_stream`, and moved: a GPU's own
generator is not cryptographic.
"""

from __future__ import annotations

from typing import Final

import torch

from fedchain.core.errors import InputError

CPU: Final = "cpu"


def check_device(device: str) -> None:
    """Refuse a GPU that is not there.

    Raises:
        InputError: if torch finds none.
    """
    if device != CPU and not torch.cuda.is_available():
        built = "was built for one" if torch.version.cuda else "was built without"
        raise InputError(
            f"device={device}", expected="a GPU that torch can use", got=f"none; torch {torch.__version__} {built}",
            remedy="choose device=cpu, or install a GPU's driver and torch built for CUDA",
        )  # fmt: skip
