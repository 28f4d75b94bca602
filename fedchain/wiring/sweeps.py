"""Sweeps: many configurations of one experimenter, each a run of its own, all on the same sites and ledger.

A sweep is known by its configurations, whatever their order, and by the code and environment that they run with; the
same command finds it again and goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.home import Home, create_home, shared
from fedchain.adapters.identity import code_digest, env_digest
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.sweep_files import Sweep, SweepJob, newest_sweep, start_sweep
from fedchain.adapters.system import SystemClock
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.config import ExperimentConfig
from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import PolicyError
from fedchain.core.policy import DataPolicy
from fedchain.core.privacy import Release
from fedchain.ports.site_state import Charge
from fedchain.wiring.bench import Bench, check_model, open_bench
from fedchain.wiring.hospitals import dataset_of
from fedchain.wiring.preflight import check
from fedchain.workflow.planning import forecast
from fedchain.workflow.summary import SweepSiteSummary
from fedchain.workflow.sweeping import Demand, grant_refusal, price_sweep


@dataclass(frozen=True, slots=True)
class Prepared:
    """The configurations of a sweep with what each brings, and the sweep's digest."""

    configs: tuple[ExperimentConfig, ...]
    benches: tuple[Bench, ...]
    digest: Digest


@dataclass(slots=True)
class _Account:
    """One dataset: whose it is, what was charged against it, and what the jobs ask for."""

    partition: Partition
    charges: Sequence[Charge]
    demands: list[Demand] = field(default_factory=list[Demand])


def prepare_sweep(configs: Sequence[ExperimentConfig]) -> Prepared:
    """Load what the configurations name, once each, and try the models.

    Raises:
        InputError: if data or targets cannot be used, or a model cannot be trained as it is to be.
    """
    known: dict[str, Bench] = {}
    benches: list[Bench] = []
    for config in configs:
        key = repr((config.data, config.model))
        if key not in known:
            known[key] = open_bench(config, Path.cwd())
        bench = known[key]
        check_model(bench.training(config), bench)
        check(config, bench)
        benches.append(bench)
    codes = sorted({code_digest(own=bench.sources) for bench in known.values()})
    digests = sorted(config.digest() for config in configs)
    return Prepared(tuple(configs), tuple(benches), tagged("sweep", env_digest(), *codes, *digests))


def known_sweep(prepared: Prepared, home: Path) -> Sweep | None:
    """Return the last sweep of these configurations and this code in a home; nothing is written."""
    return newest_sweep(Home(home), prepared.digest)


@contextmanager
def opened_sweep(
    prepared: Prepared, home: Path, overrides: Sequence[tuple[str, ...]], *, fresh: bool
) -> Iterator[Sweep]:
    """Find the sweep in its home, or start it, and be the only one that drives it.

    The home stays shared for as long, so that nobody cleans up between two jobs.

    Raises:
        InputError: if another process drives it, or changes the home.
    """
    opened = create_home(home)
    with _kept(opened, prepared):
        sweep = None if fresh else newest_sweep(opened, prepared.digest)
        if sweep is None:
            jobs = [SweepJob(config.digest(), texts) for config, texts in zip(prepared.configs, overrides, strict=True)]
            sweep = start_sweep(opened, prepared.digest, tuple(jobs), SystemClock().now())
        with sweep.driven():
            yield sweep


def _kept(home: Home, prepared: Prepared) -> AbstractContextManager[None]:
    # A run on a chain elsewhere holds the home alone.
    return nullcontext() if any(each.ledger.name == "rpc" for each in prepared.configs) else shared(home)


def price(prepared: Prepared, home: Path, sweep: Sweep | None) -> tuple[SweepSiteSummary, ...]:
    """Return what the unfinished jobs of a sweep would cost each site; nothing is written.

    Raises:
        InputError: if parameters are out of range, or a site's state cannot be read.
    """
    accounts: dict[tuple[str, bytes, bytes], _Account] = {}
    for config, bench in zip(prepared.configs, prepared.benches, strict=True):
        record = None if sweep is None else sweep.slot(config.digest()).read()
        if record is not None and record.end is not None and record.end.state == "finished":
            continue
        for each in bench.partitions:
            key = each.name, each.card.digest(), each.policy.digest()
            if key not in accounts:
                accounts[key] = _account(each, Home(home))
            run = bytes.fromhex(record.run) if record is not None else b""
            accounts[key].demands.append(_demand(config, bench, accounts[key], run))
    return tuple(
        price_sweep(
            each.partition.name,
            each.partition.policy,
            [charge.release for charge in each.charges],
            each.demands,
            PrvAccountant(),
        )
        for each in accounts.values()
    )


def check_sweep(sites: Sequence[SweepSiteSummary]) -> None:
    """Refuse a sweep that would pass a grant.

    Raises:
        ExceptionGroup: of PolicyError, one for each site.
    """
    errors: list[PolicyError] = [error for each in sites if (error := grant_refusal(each)) is not None]
    if errors:
        raise ExceptionGroup("the sweep", errors)


def _account(partition: Partition, home: Home) -> _Account:
    path = home.site(partition.name) / "site.sqlite"
    if not path.exists():
        return _Account(partition, ())
    with closing(SiteDatabase(path)) as state:
        return _Account(partition, tuple(state.charges(dataset_of(partition, state))))


def _demand(config: ExperimentConfig, bench: Bench, account: _Account, run: bytes) -> Demand:
    """Return what a job asks for, without what its run has been charged already."""
    policy: DataPolicy = account.partition.policy
    whole = forecast(bench.training(config), account.partition.trained_rows, policy, (), PrvAccountant())
    done = sum(each.release.steps for each in account.charges if run and each.key.run == run)
    left = max(0, whole.release.steps - done)
    release = Release(whole.release.noise_multiplier_e6, whole.release.batches_per_epoch, left)
    return Demand(release, whole.run_micro_epsilon)
