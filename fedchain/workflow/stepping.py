"""From a round's sum to its model: the mean itself, or the step that a server optimiser makes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fedchain.config import StrategyConfig, decimal_text
from fedchain.core.aggregation import ExactSum
from fedchain.core.control import SCAFFOLD, Control, Place, Steps
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.manifest import RunManifest
from fedchain.core.optimiser import ADAM, MOMENTUM, ServerOptimiser
from fedchain.core.own_rule import OwnStrategy, Rule, step_by
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import TensorSchema, decode, encode


@dataclass(frozen=True, slots=True)
class Next:
    """The canonical bytes of the next model and of the state after it, None where the strategy has none."""

    model: bytes
    state: bytes | None


Rules: TypeAlias = Callable[[OwnStrategy], Rule | None]
"""From a strategy of one's own, as a run's manifest has it, to its rule; None where its code is not here."""


def no_rules(_own: OwnStrategy) -> Rule | None:
    """Know no strategy but those that come with fedchain."""
    return None


@dataclass(frozen=True, slots=True)
class Summed:
    """The sum of a round's updates, by which clients and at which place of the run they were made."""

    total: ExactSum
    clients: Sequence[bytes]
    place: Place


def next_model(run: RunManifest, summed: Summed, base: bytes, state: bytes | None, rules: Rules) -> Next:
    """Return what a round's sum makes of the base model; `state` is that after the sealed round before, if any.

    Raises:
        FormatError: if the state is not of this run's strategy.
        InputError: if the run has a strategy of one's own that is not among the rules, or that fails.
        ModelOutOfRangeError: if a parameter would leave the range.
    """
    encoding, total = FixedPoint(run.fraction_bits, run.width), summed.total
    if run.own_strategy is not None:
        rule = rules(run.own_strategy)
        if rule is None:
            raise InputError(
                f"the strategy {run.own_strategy.target} is not loaded here", expected="its code", got="none"
            )
        return Next(*step_by(rule, decode(base), total.mean(), state, encoding))
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
        case "custom" | "fedavg" | "fedprox" | "scaffold":
            return None
        case "fedavgm":
            return ServerOptimiser(MOMENTUM, rate, momentum, "0", "0")
        case "fedadam":
            return ServerOptimiser(
                ADAM, rate, momentum, decimal_text(strategy.second_momentum), decimal_text(strategy.tau)
            )


def own_strategy_of(strategy: StrategyConfig, sources: bytes) -> OwnStrategy | None:
    """Return the strategy of one's own that a configuration names, with the digest of its source files, or None."""
    return None if strategy.target is None else OwnStrategy(strategy.target, strategy.options, sources)
