"""One simulated run: the ServerApp and the ClientApp over the in-process grid."""

from __future__ import annotations

from pathlib import Path

from clients.app import make_client_app
from fedchain.config import ExperimentConfig
from fedchain.ports.watcher import Watcher
from fedchain.wiring.simulation import Wanted, prepared_as
from fedchain.workflow.summary import RunSummary
from server.app import make_server_app


def simulate(config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool) -> RunSummary:
    """Run an experiment, or go on with an unfinished run of it, and return its outcome.

    Raises:
        FedchainError: what the run failed with; everything decided so far is kept and resumed.
    """
    return simulate_wanted(Wanted(fresh), config, home, watcher)


def simulate_wanted(wanted: Wanted, config: ExperimentConfig, home: Path, watcher: Watcher) -> RunSummary:
    """Run an experiment as wanted, and return its outcome.

    Raises:
        FedchainError: as `simulate`.
    """
    with prepared_as(wanted, config, home, watcher) as simulation:
        with simulation.grid(make_client_app(simulation.site_of)) as grid:
            make_server_app(simulation.drive, simulation.clock)(grid, simulation.context())
        return simulation.summary()
