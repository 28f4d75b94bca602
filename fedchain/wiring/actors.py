"""How a node finds its site where the app is called in other processes: each opens its own from the home.

The process that drives the run keeps none of it open for them: keys, state and key ring are files with their own locks.
Only text goes to such a process, the configuration and two paths; it loads the data and the models that they name.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from flwr.app import Context
from pydantic import TypeAdapter

from fedchain.adapters.home import Home
from fedchain.adapters.locks import in_turn
from fedchain.adapters.ray_grid import check_ray
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.config import ExperimentConfig, SimulationConfig
from fedchain.core.errors import InputError
from fedchain.wiring.apps import open_site
from fedchain.wiring.bench import Bench, open_bench
from fedchain.workflow.site import Site

_CONFIG: Final = TypeAdapter(ExperimentConfig)
_LOCK: Final = "actor.lock"


@dataclass(frozen=True, slots=True)
class SitesInActors:
    """Opens a node's site for one message: `config` is the run's as JSON, `folder` where its targets are found."""

    home: str
    folder: str
    config: str

    @contextmanager
    def __call__(self, context: Context) -> Iterator[Site]:
        """Give the site of a node.

        Raises:
            InputError: if the home, its keys, the data or a target cannot be used.
        """
        config, bench = _loaded(self.config, self.folder)
        partition = bench.partitions[int(context.node_config["partition-id"])]
        trainer = TorchTrainer(partition, makers=bench.makers, device=config.device)
        # An actor whose run was killed may be at its last update still: it ends first, and its update is the one.
        with (
            in_turn(Home(Path(self.home)).site(partition.name) / _LOCK),
            open_site(Path(self.home), partition, trainer, config.encryption) as site,
        ):
            yield site


def sites_in_actors(config: ExperimentConfig, home: Path) -> SitesInActors:
    """Return what finds the sites of a home in any process of this machine."""
    return SitesInActors(str(home.resolve()), str(Path.cwd()), _CONFIG.dump_json(config).decode())


def check_actors(simulation: SimulationConfig, *, is_brought: bool) -> None:
    """Refuse actors where they cannot be had, or would not find what they train.

    Raises:
        InputError: saying which.
    """
    if simulation.backend != "ray":
        return
    check_ray()
    if simulation.shuffle_replies is not None:
        raise InputError(
            "simulation.shuffle_replies", expected="null with simulation.backend ray", got=simulation.shuffle_replies,
            remedy="replies come in any order there",
        )  # fmt: skip
    if is_brought:
        raise InputError(
            "simulation.backend ray", expected="an experiment whose data and model every process can load",
            got="objects of this process",
            remedy="name targets and start it with `fedchain run`, or choose simulation=default",
        )  # fmt: skip


def actors_of(simulation: SimulationConfig, nodes: int) -> int:
    """Return how many processes the nodes share: as many as asked for, else one a processor and at most one a node."""
    return simulation.workers or min(torch.get_num_threads(), nodes)


@functools.lru_cache(maxsize=1)
def _loaded(config: str, folder: str) -> tuple[ExperimentConfig, Bench]:
    read = _CONFIG.validate_json(config)
    with contextlib.chdir(folder):  # relative paths in a configuration start there
        return read, open_bench(read, Path(folder))
