"""Flower's strategies as fedchain's: the ones whose aggregation is a rule that the verifier has, too."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from flwr.serverapp.strategy import FedAdam, FedAvg, FedAvgM, FedProx, Strategy

from fedchain.config import StrategyConfig
from fedchain.core.errors import InputError

WHOLE: Final = 2**31 - 1
"""The recorded batch size: a round of the app is one step over all rows, as far as anybody else can tell."""

log = logging.getLogger("flwr")


def check_aggregation(strategy: FedAvg) -> None:
    """Refuse what the round machine could not re-derive, and what it would leave out.

    Raises:
        InputError: naming the strategy and what is in the way.
    """
    kind = type(strategy)
    known = next((each for each in (FedAdam, FedAvgM, FedProx, FedAvg) if isinstance(strategy, each)), None)
    if known is None or kind.aggregate_train is not known.aggregate_train:
        raise InputError(
            f"the aggregation of {kind.__name__} cannot be recorded",
            expected="the weighted mean of FedAvg or FedProx, or the step of FedAvgM or FedAdam", got="another rule",
        )  # fmt: skip
    if kind.start is not Strategy.start:
        raise InputError(
            f"{kind.__name__} has a start of its own, which recorded rounds would replace",
            remedy="do what it adds in evaluate_fn or in the configure and aggregate_evaluate functions",
        )
    if strategy.fraction_train == 0.0:
        raise InputError("fraction_train", expected="more than 0", got=0.0)


def recorded_strategy(strategy: FedAvg, composed: StrategyConfig, timeout: float) -> StrategyConfig:
    """Return a strategy as the record has it, on top of what was composed; `timeout` of a round in seconds."""
    common = replace(
        composed,
        name="fedavg",
        epochs=1,
        batch_size=WHOLE,
        updates=1,
        proximal=0.0,
        min_clients=max(1, strategy.min_train_nodes),
        round_timeout_s=max(1, round(timeout)),
        target=None,
        options={},
    )
    match strategy:
        case FedProx() if strategy.proximal_mu > 0:
            return replace(common, name="fedprox", proximal=float(strategy.proximal_mu))
        case FedAvgM() if strategy.server_opt:
            rate, momentum = float(strategy.server_learning_rate), float(strategy.server_momentum)
            return replace(common, name="fedavgm", server_learning_rate=rate, momentum=momentum)
        case FedAdam():
            log.warning("FedAdam as published (Reddi et al. 2021): without the bias correction that Flower adds")
            return replace(
                common,
                name="fedadam",
                server_learning_rate=float(strategy.eta),
                momentum=float(strategy.beta_1),
                second_momentum=float(strategy.beta_2),
                tau=float(strategy.tau),
            )
        case _:
            return common
