"""The ServerApp: it turns Flower's grid into a cohort and hands it to whoever drives the rounds."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedchain.ports.clock import Clock
from fedchain.ports.cohort import Cohort
from server.cohort import FlowerCohort


def make_server_app(drive: Callable[[Cohort, Context], None], clock: Clock) -> ServerApp:
    """Return the ServerApp whose main function gives a run's cohort to `drive`."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:  # pyright: ignore[reportUnusedFunction]
        drive(FlowerCohort(grid, clock), context)

    return app
