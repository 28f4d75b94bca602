"""From a round's sum to its model: the mean itself, or the step that a server optimiser makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.config import StrategyConfig, decimal_text
from fedchain.core.aggregation import ExactSum
from fedchain.core.control import SCAFFOLD, Control, Place, Steps
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import RunManifest
from fedchain.core.optimiser import ADAM, MOMENTUM, ServerOptimiser
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import TensorSchema, decode, encode


@dataclass(frozen=True, slots=True)
class Next:
    """The canonical bytes of the next model and of the state after it, None where the strategy has none."""

    model: bytes
    state: bytes | None


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum of a round's updates, by which clients and at which place of the run they were made."""

    total: ExactSum
    clients: Sequence[bytes]
    place: Place


def next_model(run: RunManifest, summed: Summed, base: bytes, state: bytes | None) -> Next:
    """Return what a round's sum makes of the base model; `state` is that after the sealed round before, if any.

    Raises:
        FormatError: if the state is not of this run's strategy.
        ModelOutOfRangeError: if a parameter would leave the range.
    """
    encoding, total = FixedPoint(run.fraction_bits, run.width), summed.total
    if run.optimiser is not None:
        model, after = run.optimiser.step(decode(base), total.mean(), state, encoding)
        return Next(encode(model), after)
    model = total.apply_to(decode(base), encoding)
    if not is_corrected(run.training):
        return Next(encode(model), None)
    control = Control.read(state, TensorSchema.of(model))
    weight = sum(each.nominal_size for each in run.cohort)
    joined = dict.fromkeys(summed.clients, summed.place)
    return Next(encode(model), control.after(total, weight, steps_of(run.training), joined, encoding).to_bytes())


def is_corrected(training: LocalTraining) -> bool:
    """Tell whether clients correct their steps by the server's control."""
    return training.correction == SCAFFOLD


def steps_of(training: LocalTraining) -> Steps:
    """Return the steps of a round where they are corrected: as many for every client."""
    return Steps(training.updates, training.learning_rate)


def optimiser_of(strategy: StrategyConfig) -> ServerOptimiser | None:
    """Return the server optimiser of a strategy, None where the mean itself is the step."""
    rate, momentum = decimal_text(strategy.server_learning_rate), decimal_text(strategy.momentum)
    match strategy.name:
        case "fedavg" | "fedprox" | "scaffold":
            return None
        case "fedavgm":
            return ServerOptimiser(MOMENTUM, rate, momentum, "0", "0")
        case "fedadam":
            return ServerOptimiser(
                ADAM, rate, momentum, decimal_text(strategy.second_momentum), decimal_text(strategy.tau)
            )
