"""What is refused before a run makes or spends anything, because this machine or these data cannot do it."""

from __future__ import annotations

import numpy as np

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.device import CPU, check_device
from fedchain.adapters.training.evaluation import measures, predict
from fedchain.adapters.training.trainer import OFF
from fedchain.config import ExperimentConfig, decimal_text
from fedchain.core.errors import InputError, PolicyError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import LocalTraining
from fedchain.wiring.bench import Bench, starting_model
from fedchain.workflow.stopping import goal_of


def check(config: ExperimentConfig, bench: Bench) -> None:
    """Refuse a device that is not there, a first model of other shapes, and a metric that the test rows do not define.

    Raises:
        InputError: naming what was expected.
        PolicyError: if a site grants epsilon at another delta.
    """
    check_device(config.device)
    training = bench.training(config)
    for each in bench.partitions:
        _check_delta(training, each)
        _check_population(config, each)
    goal, is_watched = goal_of(config), config.checkpoint.metric is not None or config.early_stopping.patience > 0
    if config.model.initial is None and not is_watched:
        return
    tensors = starting_model(config, bench)
    FixedPoint().quantise(tensors)
    rows = np.concatenate([each.test_x for each in bench.partitions])
    labels = np.concatenate([each.test_y for each in bench.partitions])
    outputs = predict(training.model, training.model_options, tensors, rows, bench.makers) if len(labels) else rows
    defined = measures(training.task, outputs, labels) if len(labels) else {}
    if is_watched and goal.metric not in defined:
        raise InputError(
            f"{goal.metric} cannot be watched", expected="a metric that the sites' test rows define",
            got=f"{len(labels)} test rows, which define {', '.join(sorted(set(defined) - {'rows'})) or 'none'}",
            remedy="choose another checkpoint.metric, or early_stopping.patience=0 and checkpoint.metric=null",
        )  # fmt: skip


def _check_population(config: ExperimentConfig, partition: Partition) -> None:
    if partition.population is None:
        return
    chosen = config.simulation
    for name, got, is_possible, wanted in (
        ("simulation.backend", chosen.backend, chosen.backend == "local", "local"),
        ("simulation.engine", chosen.engine, chosen.engine == "auto", "auto"),
        ("device", config.device, config.device == CPU, CPU),
        ("strategy.name", config.strategy.name, config.strategy.name != "scaffold", "one without controls of clients"),
    ):
        if not is_possible:
            raise InputError(f"{name} of a run with the population {partition.name}", expected=wanted, got=got)


def _check_delta(training: LocalTraining, partition: Partition) -> None:
    granted = partition.policy.delta_e12
    if training.epsilon != OFF and training.delta_e12 != granted:
        raise PolicyError(
            f"{partition.name} grants epsilon at one delta only",
            expected=f"privacy.delta={decimal_text(granted / 1e12)}", got=decimal_text(training.delta_e12 / 1e12),
            remedy="choose that one, or ask the site for another grant",
        )  # fmt: skip
