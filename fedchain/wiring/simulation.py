"""A simulation: every site and the aggregator in this process, with their keys and state under one home.

The parts are the ones a federation runs with; only the grid that carries messages is in process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from flwr.app import Context, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from torch import nn

from fedchain.adapters.home import Home, create_home, driven, enrolling, locked, shared
from fedchain.adapters.identity import code_digest, env_digest
from fedchain.adapters.journal_file import FileJournal, read_journal
from fedchain.adapters.local_grid import LocalGrid
from fedchain.adapters.ray_grid import ray_grid
from fedchain.adapters.round_metrics import RoundMetrics
from fedchain.adapters.sweep_files import Slot
from fedchain.adapters.system import SystemClock
from fedchain.adapters.threads import run_all_on
from fedchain.adapters.tracking import tracked, tracking_uri
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.adapters.training.device import CPU
from fedchain.adapters.training.models import build
from fedchain.config import ExperimentConfig
from fedchain.core.cid import Cid
from fedchain.core.task import LocalTraining
from fedchain.ports.clock import Clock
from fedchain.ports.cohort import Cohort
from fedchain.ports.store import ArtifactStore
from fedchain.ports.watcher import (
    Evaluated,
    Event,
    Notice,
    ReceiptSigned,
    ReplyRejected,
    RoundEnded,
    RunStarted,
    UpdateAdmitted,
    Watcher,
)
from fedchain.wiring.actors import actors_of, check_actors, sites_in_actors
from fedchain.wiring.bench import Bench, check_model, open_bench
from fedchain.wiring.confidential import Confidential, open_artifacts, open_confidential
from fedchain.wiring.hospitals import Admission, Hospital, admit, metrics_of, names_of
from fedchain.wiring.joint_training import ASKED_AT_ONCE, Training, opened_training
from fedchain.wiring.own_rules import LoadedRules
from fedchain.wiring.parties import Parties, Record, parties_of, written_ledger
from fedchain.wiring.plans import MODE, NewSimulation, check_grants, new_run
from fedchain.wiring.preflight import check
from fedchain.wiring.progress import Progress, checkpoints_of, floats_of, kept, metrics_path, write_checkpoints
from fedchain.wiring.stores import written_store
from fedchain.wiring.trust import write_trust
from fedchain.workflow.enrolment import enrol
from fedchain.workflow.model_series import ModelSeries
from fedchain.workflow.planning import read_plan
from fedchain.workflow.resealing import reseal
from fedchain.workflow.rewards import rederive_rewards, rounds_of
from fedchain.workflow.rounds import Instruments, RoundMachine, RunPlan
from fedchain.workflow.run_state import Planned, RunState, entry_of
from fedchain.workflow.site import Site
from fedchain.workflow.stopping import ending_of, goal_of, models_by_round
from fedchain.workflow.summarise import ledger_head, pins_of, privacy_of, rejections_of, rewards_of
from fedchain.workflow.summary import RewardSummary, RunSummary

TRY_OUT = "DEBUG: one small batch a client; the figures of this run say nothing about quality"


@dataclass(frozen=True, slots=True)
class Simulation:
    """A run that is ready to go: `site_of` answers the ClientApp, `drive` the ServerApp."""

    config: ExperimentConfig
    home: Home
    plan: RunPlan
    hospitals: tuple[Hospital, ...]
    instruments: Callable[[Cohort], Instruments]
    is_resumed: bool
    started: float
    record: Record
    bench: Bench
    trained_by: Training
    progress: Progress
    watcher: Watcher

    @property
    def clock(self) -> Clock:
        """The wall clock."""
        return SystemClock()

    def grid(self, client_app: ClientApp) -> AbstractContextManager[Grid]:
        """Give the grid of all hospitals: in this process, or over actors of Ray."""
        chosen, nodes = self.config.simulation, len(self.hospitals)
        if chosen.backend == "ray":
            return ray_grid(client_app, nodes, actors_of(chosen, nodes), on_gpu=self.config.device != CPU)
        return nullcontext(LocalGrid(client_app, nodes, chosen.shuffle_replies, threads=min(nodes, ASKED_AT_ONCE)))

    @property
    def site_of(self) -> Callable[[Context], AbstractContextManager[Site]]:
        """What finds the site of a node wherever the grid calls the app."""
        if self.config.simulation.backend == "ray":
            return sites_in_actors(self.config, self.home.root)
        return lambda context: nullcontext(self.hospitals[int(context.node_config["partition-id"])].site)

    def context(self) -> Context:
        """Return the ServerApp's context."""
        return Context(1, 0, {}, RecordDict(), {})

    def drive(self, cohort: Cohort, _context: Context) -> None:
        """Run what is left of the run."""
        trained = self.trained_by.cohort_of(cohort, [each.site for each in self.hospitals])
        state = RoundMachine(self.plan, self.instruments(trained)).run()
        self.record.settle()
        reseal(self.record.ledger, state)
        write_checkpoints(self.home, self.plan.manifest, state, self.progress)
        self.watcher(kept(self.home, self.config, state, self.record.ledger.identity()))

    def model(self) -> nn.Module:
        """Return the newest global model as a module in float64, read back from the store."""
        reference = self._state().last_model or self.plan.manifest.initial_model
        training = self.plan.manifest.training
        tensors = floats_of(ModelSeries(open_artifacts(self.home, "aggregator")), reference.cid)
        return build(training.model, training.model_options, tensors, self.bench.makers).eval()

    def _state(self) -> RunState:
        return RunState.replay(read_journal(self.home.journal(self.plan.manifest.run.hex())))

    def summary(self) -> RunSummary:
        """Return the outcome, read back from the journal."""
        run, state = self.plan.manifest.run, self._state()
        model = state.last_model or self.plan.manifest.initial_model
        names = names_of(self.hospitals)
        store = open_artifacts(self.home, "aggregator")
        return RunSummary(
            run="0x" + run.hex(),
            federation="0x" + self.plan.manifest.federation.hex(),
            mode=MODE,
            rounds=state.rounds_sealed,
            is_resumed=self.is_resumed,
            model_cid=model.cid,
            model_digest="0x" + model.digest.hex(),
            ledger_head=ledger_head(state),
            metrics=metrics_of(
                ModelSeries(store).get(Cid.parse(model.cid)),
                self.plan.manifest.training,
                self.hospitals,
                self.bench.makers,
            ),
            privacy=privacy_of(state, self.plan.policies, names),
            rejections=rejections_of(state.refused, names),
            rewards=self._rewards(state, store, names),
            seconds=time.monotonic() - self.started,
            payload_encryption=self.plan.manifest.payload_encryption,
            trust_file=str(self.home.trust),
            ending=ending_of(state, self.plan.manifest, self.config),
            initial=self.config.model.initial or "",
            is_debug=self.config.debug.mode == "on",
            checkpoints=checkpoints_of(self.home, run.hex(), state, self.progress),
        )

    def _rewards(self, state: RunState, store: ArtifactStore, names: Mapping[bytes, str]) -> tuple[RewardSummary, ...]:
        run = self.plan.manifest
        if run.rewards is None:
            return ()
        rounds = rounds_of(run, state, store.has)
        report = rederive_rewards(self.record.ledger.identity(), rounds, store, run_all_on(1)).report()
        return rewards_of(report, run.rewards, names)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which run is wanted: a new one, one with what the caller `brought`, or the one of a sweep's job.

    Without what the caller brought, the configuration's targets are loaded from the working directory on.
    """

    fresh: bool = False
    brought: Bench | None = None
    slot: Slot | None = None


def prepared(
    config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool = False, brought: Bench | None = None
) -> AbstractContextManager[Simulation]:
    """Make a run ready: home, keys, chain, contracts, enrolment, plan; resume one of the same configuration.

    Raises:
        InputError: if data, home, chain or store cannot be used, or another process drives that run.
        PolicyError: if the run would pass a site's grant.
    """
    return prepared_as(Wanted(fresh, brought), config, home, watcher)


@contextmanager
def prepared_as(wanted: Wanted, config: ExperimentConfig, home: Path, watcher: Watcher) -> Iterator[Simulation]:
    """Make a run ready, as `prepared` does; a job of a sweep goes on with its own run, or starts one.

    Raises:
        InputError: as `prepared`.
        PolicyError: as `prepared`.
    """
    started = time.monotonic()
    check_actors(config.simulation, is_brought=wanted.brought is not None)
    bench = open_bench(config, Path.cwd()) if wanted.brought is None else wanted.brought
    training = bench.training(config)
    check_model(training, bench)
    check(config, bench)
    opened = create_home(home)
    with ExitStack() as stack:
        # Whoever seals on a chain elsewhere takes over from all others with the same key.
        stack.enter_context(locked(opened) if config.ledger.name == "rpc" else shared(opened))
        floor = _floor(stack, opened, NewSimulation(config, training, bench))
        parties, record, confidential, hospitals = floor.parties, floor.record, floor.confidential, floor.hospitals
        store = confidential.store
        run = _wanted_run(wanted, opened, config, (store, bench))
        is_resumed = run is not None
        if run is None:
            run = _new_run(wanted, opened, NewSimulation(config, training, bench), floor)
        journal = stack.enter_context(_journal(opened, run))
        state = RunState.replay(journal.entries())
        if state.planned is None:
            raise AssertionError("a journal starts with its plan")
        plan = read_plan(store, state.planned.manifest_cid, config.strategy.round_timeout_s)
        progress = _progress(opened, config, state, _Scored(store, training, hospitals, bench))
        is_tracked = wanted.slot is None  # whoever drives a sweep tracks all its jobs
        watch = stack.enter_context(_watched(opened, hospitals, progress, watcher, is_tracked=is_tracked))
        watch(replace(_started(config, plan, state, hospitals), sweep=wanted.slot.sweep if wanted.slot else ""))
        for line in _notices(config, floor.trained_by):
            watch(Notice(line))
        for round_, metrics in progress.catch_up(state, names_of(hospitals)):
            watch(Evaluated(round_, metrics))
        yield Simulation(
            config,
            opened,
            plan,
            hospitals,
            lambda cohort: Instruments(
                store,
                record.ledger,
                journal,
                parties.aggregator,
                SystemClock(),
                cohort,
                watch,
                PrvAccountant(),
                run_all_on(config.strategy.aggregation_threads),
                lambda state: write_trust(opened, record.ledger.identity(), pins_of(state)),
                confidential.payloads,
                snapshot_every=config.store.snapshot_every,
                is_enough=progress.is_enough,
                rules=LoadedRules([] if bench.rule is None else [bench.rule]),
            ),
            is_resumed,
            started,
            record,
            bench,
            floor.trained_by,
            progress,
            watch,
        )


@dataclass(frozen=True, slots=True)
class _Floor:
    """What every run of a home stands on: its parties, its record, who may read, how sites train, and the sites."""

    parties: Parties
    record: Record
    confidential: Confidential
    trained_by: Training
    hospitals: tuple[Hospital, ...]


def _floor(stack: ExitStack, home: Home, new: NewSimulation) -> _Floor:
    """Open it and enrol the sites, one run after the other; `stack` closes it."""
    config, bench = new.config, new.bench
    with enrolling(home):
        parties = parties_of(home)
        record = stack.enter_context(written_ledger(home, parties, config.ledger))
        written_store(home, config.store)  # from here on the home knows where artifacts are kept
        confidential = open_confidential(home, config.encryption)
        trained_by = stack.enter_context(opened_training(config, bench, new.training))
        to = Admission(home, record.ledger.identity(), parties.aggregator.address, trained_by.trainer_of)
        hospitals = tuple(admit(each, to, confidential.writer_of(each.name)) for each in bench.partitions)
        for each in hospitals:
            stack.callback(each.database.close)
        enrol(record.ledger, record.registry, [each.applicant for each in hospitals], SystemClock().now())
    return _Floor(parties, record, confidential, trained_by, hospitals)


def _new_run(wanted: Wanted, home: Home, new: NewSimulation, floor: _Floor) -> bytes:
    """Plan a run, and let its journal begin."""
    check_grants(new.training, floor.hospitals)
    planned = new_run(new, floor.record.ledger.identity(), floor.hospitals, floor.confidential.store)
    if wanted.slot is not None:
        wanted.slot.note_run(planned.run.hex())
    _begin(home, planned)
    return planned.run


def _notices(config: ExperimentConfig, trained_by: Training) -> Iterator[str]:
    if trained_by.why:
        yield f"each site trains by itself, since the engine does not take the model: {trained_by.why}"
    for each in trained_by.bench.partitions:
        if each.population is not None:
            roster = each.population.roster
            yield (
                f"{each.name} is a population, simulated: {roster.clients:,} clients registered by one root, "
                f"{roster.drawn:,} drawn a round; they have no keys, the site signs for them"
            )
    if config.debug.mode == "on":
        yield TRY_OUT


def _wanted_run(
    wanted: Wanted, home: Home, config: ExperimentConfig, found_with: tuple[ArtifactStore, Bench]
) -> bytes | None:
    """Return the run to go on with, or None for a new one."""
    if wanted.slot is not None:
        return _begun(home, wanted.slot)
    return None if wanted.fresh else _unfinished(home, config, *found_with)


def _unfinished(home: Home, config: ExperimentConfig, store: ArtifactStore, bench: Bench) -> bytes | None:
    """Return the newest unfinished run of this configuration, made by this very code, or None."""
    found: list[tuple[int, bytes]] = []
    code = code_digest(own=bench.sources), env_digest()
    for folder in sorted(home.runs.iterdir()) if home.runs.is_dir() else []:
        if not home.journal(folder.name).exists():  # another process is about to begin it
            continue
        state = RunState.replay(read_journal(home.journal(folder.name)))
        if state.planned is None or state.is_finished or state.planned.config_digest != config.digest():
            continue
        manifest = read_plan(store, state.planned.manifest_cid, 0).manifest
        if (manifest.code_digest, manifest.env_digest) == code:
            found.append((manifest.created_at, state.planned.run))
    return max(found)[1] if found else None


def _begun(home: Home, slot: Slot) -> bytes | None:
    """Return the run of a sweep's job, None where it has none, or where a crash came before its first entry."""
    run = slot.read().run
    if not run or not home.journal(run).exists():
        return None
    state = RunState.replay(read_journal(home.journal(run)))
    return None if state.planned is None else state.planned.run


def _begin(home: Home, planned: Planned) -> None:
    with _journal(home, planned.run) as journal:
        journal.append(entry_of(planned))


@contextmanager
def _journal(home: Home, run: bytes) -> Iterator[FileJournal]:
    with driven(home, run.hex()):
        journal = FileJournal(home.journal(run.hex()))
        try:
            yield journal
        finally:
            journal.close()


@dataclass(frozen=True, slots=True)
class _Scored:
    """What it takes to evaluate a round's model."""

    store: ArtifactStore
    training: LocalTraining
    hospitals: tuple[Hospital, ...]
    bench: Bench

    def metrics(self, round_: int, model: bytes) -> dict[str, dict[str, float]]:
        """Return a round's metrics."""
        if self.bench.score is not None:
            return self.bench.score(round_, model)
        return metrics_of(model, self.training, self.hospitals, self.bench.makers)


def _progress(home: Home, config: ExperimentConfig, state: RunState, scored: _Scored) -> Progress:
    run = "" if state.planned is None else state.planned.run.hex()
    metrics = RoundMetrics.read(metrics_path(home, run), models_by_round(state))
    return Progress(goal_of(config), metrics, ModelSeries(scored.store), scored.metrics)


@contextmanager
def _watched(
    home: Home, hospitals: tuple[Hospital, ...], progress: Progress, watcher: Watcher, *, is_tracked: bool
) -> Iterator[Watcher]:
    """Give a watcher that names hospitals, evaluates each new model, and feeds both the display and the tracker."""
    names = {address.hex(): name for address, name in names_of(hospitals).items()}
    uri = tracking_uri(home.mlflow, os.environ)
    with ExitStack() as stack:
        watchers = [watcher]
        if is_tracked:
            watchers.append(stack.enter_context(tracked(home.mlflow, uri, lambda line: watcher(Notice(line)))))

        def watch(event: Event) -> None:
            named = _named(event, names)
            if isinstance(named, UpdateAdmitted):
                progress.spent[named.client] = named.run_micro_epsilon
            for each in watchers:
                each(named)
            if isinstance(event, RoundEnded) and not event.abort_reason:
                watch(Evaluated(event.round, progress.take(event.round, event.model_cid)))

        yield watch


def _named(event: Event, names: Mapping[str, str]) -> Event:
    if isinstance(event, UpdateAdmitted | ReplyRejected | ReceiptSigned):
        return replace(event, client=names.get(event.client, event.client))
    return event


def _started(config: ExperimentConfig, plan: RunPlan, state: RunState, hospitals: tuple[Hospital, ...]) -> RunStarted:
    return RunStarted(
        run=plan.manifest.run.hex(),
        federation=plan.manifest.federation.hex(),
        experiment=config.experiment,
        rounds=config.rounds,
        first_round=max(state.decided, default=0) + 1,
        is_resumed=len(state.decided) > 0 or state.opened is not None,
        clients=tuple(each.partition.name for each in hospitals),
        config=config.canonical().decode(),
    )
