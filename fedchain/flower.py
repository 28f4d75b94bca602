"""Recorded rounds for an existing Flower app: a mod for its ClientApp, a wrapper around its strategy.

The app keeps its model, its training and its evaluation; `docs/from-flower.md` shows the changed lines. What the mod
sends is the site's signed update in integers, and what the wrapper drives is the same round machine as `fedchain run`:
admission, exact aggregation, store, seal, receipts. The app's own training has no differential privacy that anyone
could vouch for, and the record says so.
"""

from __future__ import annotations

import inspect
import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Final

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord, RecordDict, UserConfig
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg, Result

from clients.recorded import RecordedMod, Rows
from fedchain.adapters.arrays import ArrayForm
from fedchain.adapters.home import open_home
from fedchain.adapters.local_grid import LocalGrid
from fedchain.adapters.system import SystemClock
from fedchain.adapters.targets import own_code, sources_of
from fedchain.api import LineageHandle
from fedchain.cli.compose import compose
from fedchain.config import FLOWER, DataConfig, ExperimentConfig, ModelConfig, decimal_text
from fedchain.core.cid import Cid
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.policy import DataPolicy
from fedchain.core.tensors import decode
from fedchain.ports.watcher import Event, Notice, ReplyRejected, RoundSealed, RunStarted
from fedchain.wiring.apps import Declaration
from fedchain.wiring.bench import Bench
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.simulation import prepared
from fedchain.workflow.audit_config import read_config
from fedchain.workflow.model_series import ModelSeries
from server.recorded import Carrier, StrategyCohort, declarations_of
from server.strategies import check_aggregation, recorded_strategy

log = logging.getLogger("flwr")

_UNLESS_SAID: Final = ("privacy=off", "rewards=off", "simulation.engine=sites", "strategy.max_update_norm=100")
_SAMPLING: Final = ("fraction_train", "min_train_nodes", "min_available_nodes")


def signed(rows: Rows, policy: DataPolicy | Path | str, *, home: Path | str = ".fedchain") -> RecordedMod:
    """Return the mod for `ClientApp(mods=[...])`: each node's site signs and encrypts what the app's training gives.

    Args:
        rows: from a node's node_config to the rows (or the loader) that its train function trains on.
        policy: what the data's owner allows, or the path of the document that says it.
        home: the folder with the sites' keys and state (simulation: the strategy's).
    """
    return RecordedMod(rows, policy if isinstance(policy, DataPolicy) else Path(policy), Path(home))


def recorded(
    strategy: FedAvg,
    *overrides: str,
    home: Path | str = ".fedchain",
    fresh: bool = False,
    frozen: Sequence[str] = (),
) -> Recorded:
    """Return a strategy whose `start` records and seals every round; sampling, configs and metrics stay the app's.

    Args:
        strategy: Flower's FedAvg, FedProx, FedAvgM or FedAdam, or a subclass that leaves the aggregation as it is.
        overrides: as for `fedchain run`: "ledger=log", "strategy.max_update_norm=500".
        home: the folder with all state.
        fresh: start a new run even if one of the same configuration and code could be resumed.
        frozen: arrays that keep their first value and are not exchanged, such as BatchNorm's counters.

    Raises:
        InputError: if the strategy's aggregation is no weighted mean that can be re-derived.
    """
    check_aggregation(strategy)
    frame = inspect.currentframe()
    caller = None if frame is None else frame.f_back
    if caller is None:
        raise AssertionError("a function has a caller")
    made = [] if type(strategy).__module__.startswith("flwr.") else [type(strategy)]
    sources = sources_of(caller, *made)
    return Recorded(strategy, overrides, Path(home), fresh, tuple(frozen), _target_of(caller), sources)


def simulate(server_app: ServerApp, client_app: ClientApp, nodes: int, run_config: UserConfig | None = None) -> None:
    """Run a Flower app, recorded or not, with all its nodes in this process: no server, no Ray.

    Args:
        server_app: the app's `ServerApp`.
        client_app: the app's `ClientApp`.
        nodes: how many; node i has the partition-id i - 1.
        run_config: what pyproject.toml has under [tool.flwr.app.config].
    """
    config = dict(run_config or {})
    grid = LocalGrid(client_app, nodes, run_config=config)
    server_app(grid, Context(1, 0, {}, RecordDict(), config))


@dataclass(slots=True)
class Recorded:
    """A strategy in recorded rounds; after `start`, `lineage` says where the record is."""

    strategy: FedAvg
    overrides: Sequence[str]
    home: Path
    fresh: bool
    frozen: tuple[str, ...]
    target: str
    sources: Mapping[str, bytes]
    lineage: LineageHandle | None = None

    def summary(self) -> None:
        """Log the strategy's own summary."""
        self.strategy.summary()

    def start(  # noqa: PLR0913, PLR0917 - Flower's signature
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Do what `Strategy.start` does, in recorded rounds; an interrupted run goes on with the model that it has.

        Raises:
            FedchainError: what the run failed with; what was sealed is kept and resumed by the same call.
        """
        told = train_config or ConfigRecord()
        declared = declarations_of(grid, timeout)
        config = self._config(declared, num_rounds, timeout, told)
        partitions = tuple(each.partition() for each in declared)
        form = ArrayForm.of(initial_arrays, self.frozen)
        cohort = StrategyCohort(self.strategy, told, form, Carrier(grid), SystemClock())
        asked = _Evaluation(evaluate_config or ConfigRecord(), evaluate_fn, initial_arrays, timeout)
        watch = _Watch(self.strategy, cohort, asked, self.home)
        initial = form.tensors_of(initial_arrays)
        bench = Bench(partitions, {}, self._sources(declared), initial, watch.score)
        self.strategy.summary()
        with prepared(config, self.home, watch, fresh=self.fresh, brought=bench) as simulation:
            simulation.drive(cohort, simulation.context())
            summary = simulation.summary()
        watch.result.arrays = watch.arrays_of(summary.model_cid)
        self.lineage = LineageHandle(summary.run, summary.ledger_head, self.home, Path(summary.trust_file))
        log.info("recorded as run %s, head %s", summary.run, summary.ledger_head)
        log.info("check it with: fedchain verify --home %s --trust %s", self.home, summary.trust_file)
        return watch.result

    def _config(
        self, declared: Sequence[Declaration], rounds: int, timeout: float, told: ConfigRecord
    ) -> ExperimentConfig:
        composed = compose([*_UNLESS_SAID, *self.overrides])
        modes = composed.privacy.mode, composed.rewards.mode, composed.encryption.mode, composed.simulation.engine
        if modes != ("off", "off", "on", "sites"):
            raise InputError(
                "overrides of a recorded Flower app",
                expected="privacy=off, rewards=off, encryption=on, simulation.engine=sites",
                got=", ".join(self.overrides),
                remedy="fedchain.federate trains with privacy",
            )
        sampling = {f"strategy.{name}": _text(getattr(self.strategy, name)) for name in _SAMPLING}
        options = sampling | {f"train-config.{name}": _text(value) for name, value in told.items()}
        config = replace(
            composed,
            experiment=self.target.partition(":")[0],
            rounds=rounds,
            data=DataConfig("custom", "flamby", None, declared[0].target),
            model=ModelConfig(FLOWER, 0, target=self.target, options=options, frozen=self.frozen),
            strategy=recorded_strategy(self.strategy, composed.strategy, timeout),
        )
        return read_config(config.canonical())  # with the eyes of the verifier: values out of range are refused here

    def _sources(self, declared: Sequence[Declaration]) -> dict[str, bytes]:
        found = dict(self.sources)
        for each in declared:
            for path, text in each.sources.items():
                if found.setdefault(path, text.encode()) != text.encode():
                    raise InputError(f"{path} of {each.name}", expected="the app's file as it is here", got="another")
        return found


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """What the app evaluates with, by the arguments of `start`."""

    config: ConfigRecord
    function: Callable[[int, ArrayRecord], MetricRecord | None] | None
    initial: ArrayRecord
    timeout: float


@dataclass(frozen=True, slots=True)
class _Watch:
    """A watcher that does what the app does after each round, and keeps what Flower's `Result` holds."""

    strategy: FedAvg
    cohort: StrategyCohort
    asked: _Evaluation
    home: Path
    result: Result = field(default_factory=Result)

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted() if event.is_resumed:
                log.info("going on with run 0x%s at round %d", event.run, event.first_round)
            case RunStarted():
                self._evaluate_here(0, self.asked.initial)
            case RoundSealed() if not event.closes_run:
                log.info("[ROUND %d] sealed as 0x%s", event.round, event.round_hash)
            case ReplyRejected():
                log.warning("[ROUND %d] %s was rejected: %s", event.round, event.client, event.reason)
            case Notice():
                log.info("%s", event.text)
            case _:
                pass

    def arrays_of(self, model_cid: str) -> ArrayRecord:
        """Return a recorded model as the app's arrays."""
        return self._arrays(ModelSeries(open_artifacts(open_home(self.home), "aggregator")).get(Cid.parse(model_cid)))

    def score(self, number: int, model: bytes) -> dict[str, dict[str, float]]:
        """Do what the app does after a round; return its metrics for the tracker."""
        arrays, result = self._arrays(model), self.result
        self._after(number, arrays)
        found = {
            "overall": result.evaluate_metrics_serverapp.get(number),
            "clients": result.evaluate_metrics_clientapp.get(number),
            "training": result.train_metrics_clientapp.get(number),
        }
        return {of: _numbers(each) for of, each in found.items() if each is not None}

    def _arrays(self, model: bytes) -> ArrayRecord:
        return self.cohort.form.arrays_of(FixedPoint().dequantise(decode(model)))

    def _after(self, number: int, arrays: ArrayRecord) -> None:
        strategy, result, grid = self.strategy, self.result, self.cohort.carrier.grid
        reported = [RecordDict({"metrics": each}) for each in self.cohort.reported.pop(number, [])]
        with own_code("the app's strategy"):
            if reported:
                metrics = strategy.train_metrics_aggr_fn(reported, strategy.weighted_by_key)
                result.train_metrics_clientapp[number] = metrics
                log.info("[ROUND %d] train metrics: %s", number, metrics)
            messages = strategy.configure_evaluate(number, arrays, self.asked.config, grid)
            replies = grid.send_and_receive(messages, timeout=self.asked.timeout)
            evaluated = strategy.aggregate_evaluate(number, replies)
        if evaluated is not None:
            result.evaluate_metrics_clientapp[number] = evaluated
            log.info("[ROUND %d] evaluation at clients: %s", number, evaluated)
        self._evaluate_here(number, arrays)

    def _evaluate_here(self, number: int, arrays: ArrayRecord) -> None:
        if self.asked.function is None:
            return
        with own_code("evaluate_fn"):
            metrics = self.asked.function(number, arrays)
        if metrics is not None:
            self.result.evaluate_metrics_serverapp[number] = metrics
            log.info("[ROUND %d] evaluation at the server: %s", number, metrics)


def _numbers(metrics: MetricRecord) -> dict[str, float]:
    """Return the metrics that are one finite number each."""
    plain = {name: float(each) for name, each in metrics.items() if isinstance(each, int | float)}
    return {name: each for name, each in plain.items() if math.isfinite(each)}


def _target_of(frame: FrameType) -> str:
    name = re.sub(r"[^A-Za-z0-9_]", "_", frame.f_code.co_name)
    return f"{frame.f_globals.get('__name__', '__main__')}:{name}"


def _text(value: object) -> str:
    """Return what a client is told as the record has it."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return decimal_text(value)
        case bytes():
            return "0x" + value.hex()
        case list():
            return f"[{','.join(_text(each) for each in value)}]"
        case _:
            return str(value)
