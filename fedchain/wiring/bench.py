"""What an experimenter brings to a run: the data, models of one's own, and the source files behind both.

This is the one place that loads the targets of a configuration, and it is for configurations of one's own only. What
was loaded here is what the sites of this process agree to train; a task that names anything else is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from fedchain.adapters.datasets.heart import load_heart
from fedchain.adapters.datasets.own import partitions_of
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.model_files import digest_of, read_model
from fedchain.adapters.targets import load, own_code, sources_of
from fedchain.adapters.training.losses import summed_loss
from fedchain.adapters.training.models import build, initial
from fedchain.adapters.training.modules import Maker, Makers, arguments_of, frozen_of, make
from fedchain.adapters.training.trainer import OFF, check_private, single_threaded
from fedchain.config import FLOWER, DataConfig, ExperimentConfig
from fedchain.core.errors import InputError
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, TensorSchema
from fedchain.wiring.own_rules import OwnRule
from fedchain.workflow.planning import local_training


@dataclass(frozen=True, slots=True)
class Bench:
    """The partitions of a run, the models of one's own by target, and the own source files by path.

    `initial` is the model that a run starts from where it is brought, and not made by the configuration; `score` gives
    a round's metrics, from its number and its model, where they are not those of held-out rows. `rule` is a strategy of
    one's own; its files are among the sources.
    """

    partitions: tuple[Partition, ...]
    makers: Makers = field(default_factory=dict[str, Maker])
    sources: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    initial: FloatTensors | None = None
    score: Callable[[int, bytes], dict[str, dict[str, float]]] | None = None
    rule: OwnRule | None = None

    def training(self, config: ExperimentConfig) -> LocalTraining:
        """Return what every site is told to do."""
        return local_training(config, self.partitions[0].inputs)


def open_bench(config: ExperimentConfig, folder: Path) -> Bench:
    """Load what a configuration of one's own names; targets are looked for in `folder` first.

    Raises:
        InputError: if data or targets cannot be used.
    """
    if config.model.name == FLOWER:
        raise InputError(
            "model.name flower is an app's own model and training", expected="a model that fedchain trains",
            got=config.model.target, remedy="start the app; docs/from-flower.md shows how its rounds are recorded",
        )  # fmt: skip
    made: list[object] = []
    makers: dict[str, Maker] = {}
    if config.model.target is not None:
        maker = load(config.model.target, folder)
        makers[config.model.target] = maker
        made.append(maker)
    if config.data.target is not None:
        made.append(load(config.data.target, folder))
    rule = None if config.strategy.target is None else OwnRule.load(config.strategy.target, folder)
    if rule is not None:
        made.append(rule.step)
    return Bench(load_data(config.data, folder), makers, sources_of(*made), rule=rule)


def load_data(data: DataConfig, folder: Path) -> tuple[Partition, ...]:
    """Return the partitions that a configuration names, one a client.

    Raises:
        InputError: if a file is missing or altered, the split is unknown, or a target gives no partitions.
    """
    if data.target is None:
        return load_heart(None if data.directory is None else Path(data.directory), data.split)
    function = load(data.target, folder)
    with own_code(data.target):
        made = function(**arguments_of(data.options))
    return partitions_of(data.target, made)


def starting_model(config: ExperimentConfig, bench: Bench) -> FloatTensors:
    """Return the model that a run begins with: the one that was brought, that of `model.initial`, or a fresh one.

    Raises:
        InputError: if the file is missing, is another one than the configuration was made with, or holds another model.
    """
    if bench.initial is not None:
        return bench.initial
    training = bench.training(config)
    fresh = initial(training.model, training.model_options, config.seed, bench.makers)
    if config.model.initial is None:
        return fresh
    path = Path(config.model.initial)
    found = digest_of(path)
    if found != config.model.initial_sha256:
        raise InputError(
            f"{path} is not the file that the run was planned with", expected=f"sha256 {config.model.initial_sha256}",
            got=found, remedy="restore the file, or start a new run with --fresh",
        )  # fmt: skip
    return read_model(path, TensorSchema.of(fresh), frozen_of(training.model_options))


def check_model(training: LocalTraining, bench: Bench) -> None:
    """Try a model of one's own on a few rows, before any round and any charge.

    Raises:
        InputError: if it cannot be made, does not fit the rows or the task, or cannot be trained with privacy.
    """
    target = training.model_options.get("target")
    if target is None or training.model == FLOWER:
        return
    if training.epsilon != OFF:
        check_private(make(training.model_options, bench.makers, training.seed))
    tensors = initial(training.model, training.model_options, training.seed, bench.makers)
    module = build(training.model, training.model_options, tensors, bench.makers)
    for each in bench.partitions:
        rows = torch.from_numpy(each.train_x[:4]).double()
        with own_code(target), single_threaded(), torch.no_grad():
            summed_loss(training.task, module.eval()(rows), torch.from_numpy(each.train_y[:4]).double())
