"""Opacus is imported without its handler on the root logger, which would show each line of Flower's twice."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import logging
kept = logging.NullHandler()
logging.getLogger().addHandler(kept) if {first} else None
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.adapters.training.accounting import PrvAccountant
import flwr.app
assert logging.getLogger().handlers == ([kept] if {first} else []), logging.getLogger().handlers
logging.getLogger("flwr").info("said once")
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", [False, True])
def test_a_line_of_flower_is_shown_once_and_handlers_of_ones_own_stay(first: bool) -> None:
    program = PROGRAM.format(first=first)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("said once") == 1
