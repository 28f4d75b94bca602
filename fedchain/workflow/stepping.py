"""From a round's sum to its model: the mean itself, or the step that a server optimiser makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from fedchain.config import StrategyConfig, decimal_text
from fedchain.core.aggregation import ExactSum
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import RunManifest
from fedchain.core.optimiser import ADAM, MOMENTUM, ServerOptimiser
from fedchain.core.tensors import decode, encode


@dataclass(frozen=True, slots=True)
class Next:
    """The canonical bytes of the next model and of the state after it, None where the strategy has none."""

    model: bytes
    state: bytes | None


def next_model(run: RunManifest, total: ExactSum, base: bytes, state: bytes | None) -> Next:
    """Return what a round's sum makes of the base model; `state` is that after the sealed round before, if any.

    Raises:
        FormatError: if the state is not of this run's optimiser.
        ModelOutOfRangeError: if a parameter would leave the range.
    """
    encoding = FixedPoint(run.fraction_bits, run.width)
    if run.optimiser is None:
        return Next(encode(total.apply_to(decode(base), encoding)), None)
    model, after = run.optimiser.step(decode(base), total.mean(), state, encoding)
    return Next(encode(model), after)


def optimiser_of(strategy: StrategyConfig) -> ServerOptimiser | None:
    """Return the server optimiser of a strategy, None where the mean itself is the step."""
    rate, momentum = decimal_text(strategy.server_learning_rate), decimal_text(strategy.momentum)
    match strategy.name:
        case "fedavg" | "fedprox":
            return None
        case "fedavgm":
            return ServerOptimiser(MOMENTUM, rate, momentum, "0", "0")
        case "fedadam":
            return ServerOptimiser(
                ADAM, rate, momentum, decimal_text(strategy.second_momentum), decimal_text(strategy.tau)
            )
