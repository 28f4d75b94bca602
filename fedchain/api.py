"""The Python way in, for scripts and notebooks: `fedchain.federate` and the words that go with it.

What it does is `fedchain run` with objects in the place of targets: the configuration is put together by the same
rules, recorded, and known by its digest; the model's own source files enter the code's digest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from torch import nn

from clients.app import make_client_app
from fedchain.adapters.datasets.own import partitions_of
from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.targets import load, sources_of, target_of
from fedchain.adapters.training.modules import Maker
from fedchain.cli.compose import compose
from fedchain.config import DataConfig, ExperimentConfig
from fedchain.core.lineage import Lineage
from fedchain.core.own_rule import Arrays
from fedchain.ports.watcher import Evaluated, Event
from fedchain.wiring.bench import Bench, load_data
from fedchain.wiring.own_rules import OwnRule
from fedchain.wiring.record import Trusting
from fedchain.wiring.simulation import prepared
from fedchain.workflow.summary import PrivacySummary, RunSummary
from server.app import make_server_app

IN_MEMORY = "python:partitions"
"""The recorded target of data that were handed over as objects."""

Step: TypeAlias = Callable[..., tuple[Arrays, Arrays]]
"""Called as `step(base, mean, state, **options)`; see `fedchain.core.own_rule`."""

Metrics: TypeAlias = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class LineageHandle:
    """Where a run's record is, and how to have it re-derived; `head` is its last round hash."""

    run: str
    head: str
    home: Path
    trust: Path
    strategy: OwnRule | None = None

    def verify(self) -> Lineage:
        """Re-derive the run from its record, pinned by the receipts in the trust file (simulated independence).

        A strategy of one's own is run for it, since whoever calls this has its code.
        """
        rules = [] if self.strategy is None else [self.strategy]
        return Trusting(rules).verify(self.home, run=self.run, heads=(), trust=self.trust, scrub=False)


@dataclass(frozen=True, slots=True)
class Federated:
    """What a run gave: the model in float64, metrics by round and client (simulation: on held-out rows), privacy.

    `rounds` has the rounds that this call ran, by number; a resumed run has the others in its first call.
    """

    model: nn.Module
    rounds: dict[int, Metrics]
    metrics: Metrics
    privacy: dict[str, PrivacySummary]
    lineage: LineageHandle
    summary: RunSummary


def federate(
    model: Maker | str,
    data: Sequence[Partition] | str,
    *overrides: str,
    home: Path | str = ".fedchain",
    fresh: bool = False,
    strategy: Step | str | None = None,
) -> Federated:
    """Train a model of one's own on data of one's own, seal every round, and return the outcome.

    Args:
        model: a class or function that makes a `torch.nn.Module`, or its target ("mine:Net").
        data: one partition a client, or the target of a function that returns them.
        overrides: as for `fedchain run`: "rounds=5", "privacy=off", "model.task=multiclass", "strategy=fedprox".
        home: the folder with all state.
        fresh: start a new run even if one of the same configuration and code could be resumed.
        strategy: a function that makes the next model of base, mean and state, or its target ("mine:step").

    Raises:
        FedchainError: what the run failed with; what was sealed is kept and resumed by the same call.
    """
    maker = load(model, Path.cwd()) if isinstance(model, str) else model
    target = model if isinstance(model, str) else target_of(model)
    rule = _rule(strategy)
    config = _config(target, data if isinstance(data, str) else IN_MEMORY, (*_naming(rule), *overrides))
    if rule is None and config.strategy.target is not None:
        rule = OwnRule.load(config.strategy.target, Path.cwd())
    partitions = load_data(config.data, Path.cwd()) if isinstance(data, str) else partitions_of(IN_MEMORY, data)
    made = [maker, *_loaders(config.data), *([] if rule is None else [rule.step])]
    bench = Bench(partitions, {target: maker}, sources_of(*made), rule=rule)
    watched = _Rounds({})
    with prepared(config, Path(home), watched, fresh=fresh, brought=bench) as simulation:
        with simulation.grid(make_client_app(simulation.site_of)) as grid:
            make_server_app(simulation.drive, simulation.clock)(grid, simulation.context())
        summary, trained = simulation.summary(), simulation.model()
    return Federated(
        model=trained,
        rounds=watched.rounds,
        metrics=summary.metrics,
        privacy={each.client: each for each in summary.privacy},
        lineage=LineageHandle(summary.run, summary.ledger_head, Path(home), Path(summary.trust_file), rule),
        summary=summary,
    )


@dataclass(frozen=True, slots=True)
class _Rounds:
    """A watcher that keeps each round's metrics."""

    rounds: dict[int, Metrics]

    def __call__(self, event: Event) -> None:
        if isinstance(event, Evaluated):
            self.rounds[event.round] = event.metrics


def _config(model: str, data: str, overrides: Sequence[str]) -> ExperimentConfig:
    own = ["model.name=custom", f"model.target='{model}'", "data.name=custom", f"data.target='{data}'"]
    unless_said = [] if any(each.startswith("rewards=") for each in overrides) else ["rewards=off"]
    config = compose([*own, *unless_said, *overrides])
    return replace(config, experiment=model.partition(":")[0])


def _rule(strategy: Step | str | None) -> OwnRule | None:
    if strategy is None:
        return None
    return (
        OwnRule.load(strategy, Path.cwd()) if isinstance(strategy, str) else OwnRule.of(target_of(strategy), strategy)
    )


def _naming(rule: OwnRule | None) -> tuple[str, ...]:
    return () if rule is None else ("strategy.name=custom", f"strategy.target='{rule.target}'")


def _loaders(data: DataConfig) -> list[object]:
    return [] if data.target is None or data.target == IN_MEMORY else [load(data.target, Path.cwd())]
