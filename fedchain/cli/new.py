"""`fedchain new`: a working experiment of one's own, to be changed piece by piece."""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Final

from fedchain.adapters.files import explained
from fedchain.cli.arguments import Verbs, add_verb
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.core.errors import InputError

TEXT = """\
Writes a folder with an experiment of your own that runs as it is: a model, data of three clients (synthetic), their
owner's policy, and the configuration that names them. Change one piece at a time.

  fedchain new mine
  cd mine && fedchain run --config-dir conf experiment=mine
"""
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CLIENTS: Final = {"north": 90, "south": 120, "east": 60}

MODULE: Final = '''\
"""The model and the data of the experiment {name}. Both are named in conf/experiment/{name}.yaml."""

from pathlib import Path

import fedchain
import torch
from torch import nn

DATA = Path(__file__).with_name("data")


class Net(nn.Module):
    """Any torch module will do; its options come from the configuration."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, hidden), nn.GroupNorm(1, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """From rows (batch, 3) to one logit each."""
        return self.layers(rows)


def load() -> tuple[fedchain.Partition, ...]:
    """One partition a client: the column "client" says whose a row is."""
    columns = fedchain.Columns(label="label", client="client")
    return fedchain.read_csv(DATA / "{name}.csv", columns, fedchain.read_policy(DATA / "policy.json"))
'''

CONFIGURATION: Final = """\
# @package _global_
#
# An experiment of your own; every key is described in docs/configuration.md.
#
#   fedchain run --config-dir conf experiment={name}
defaults:
  - override /privacy: dp
  - override /rewards: "off"

experiment: {name}
rounds: 3
data:
  name: custom
  target: {name}:load
model:
  name: custom
  task: binary
  target: {name}:Net
  options:
    hidden: 8
privacy:
  epsilon: 8.0
strategy:
  batch_size: 16
  learning_rate: 0.5
"""


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "new", _handle, summary="write an experiment of your own to start from", text=TEXT)
    parser.add_argument("name", metavar="NAME", help="the name of the experiment, of its folder and of its module")


def write(folder: Path, name: str) -> list[Path]:
    """Write the skeleton into a folder that does not exist yet; return its files.

    Raises:
        InputError: if the name is no module's name, or the folder is there already.
    """
    if not _NAME.fullmatch(name):
        raise InputError("NAME", expected="lower-case letters, digits and _, a letter first", got=repr(name)[:80])
    contents = {
        f"{name}.py": MODULE.format(name=name),
        f"conf/experiment/{name}.yaml": CONFIGURATION.format(name=name),
        f"data/{name}.csv": _rows(name),
        "data/policy.json": _policy(name),
    }
    with explained(folder):
        if folder.exists():
            raise InputError(
                f"{folder} exists already", expected="a new folder", remedy="choose another name, or remove it"
            )
        for path, content in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content, encoding="utf-8")
    return [folder / path for path in contents]


def _rows(name: str) -> str:
    """Synthetic rows of three clients: the label is a noisy linear rule of three features."""
    draws = random.Random(name)  # noqa: S311 - made-up data, the same for one name
    lines = ["client,first,second,third,label"]
    for client, count in _CLIENTS.items():
        for _ in range(count):
            row = [draws.gauss(0, 1) for _ in range(3)]
            label = int(row[0] + row[1] - row[2] + draws.gauss(0, 0.5) > 0)
            lines.append(",".join([client, *(f"{value:.4f}" for value in row), str(label)]))
    return "\n".join(lines) + "\n"


def _policy(name: str) -> str:
    """What the owner of the data allows: synthetic data are nobody's, so each run may spend epsilon 10."""
    policy = {
        "allows_unprotected": True,
        "dataset_name": name,
        "delta_e12": 10_000_000,
        "grant": "sandbox",
        "micro_epsilon_grant": 10_000_000,
        "source": "SYNTHETIC: written by fedchain new",
        "unit": "example",
    }
    return json.dumps(policy, separators=(",", ":"), sort_keys=True) + "\n"


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    folder = Path(options.name)
    paths = write(folder, options.name)
    command = f"cd {options.name} && fedchain run --config-dir conf experiment={options.name}"
    if screen.as_json:
        screen.document({"files": [str(path) for path in paths], "run": command})
    else:
        for path in paths:
            screen.line(str(path))
        screen.line()
        screen.line(f"Run it: {command}")
    return Exit.DONE
