"""The ServerApp hands the grid of its run to whoever drives the rounds, as a cohort."""

from __future__ import annotations

from flwr.app import Context, RecordDict

from fedchain.ports.cohort import Cohort
from server.app import make_server_app
from server.cohort import FlowerCohort
from tests.doubles.clock import ManualClock
from tests.doubles.grid import ScriptedGrid, silence


def test_the_app_drives_the_cohort_of_its_grid() -> None:
    driven: list[tuple[Cohort, Context]] = []
    clock, grid, context = ManualClock(), ScriptedGrid({7: silence}), Context(1, 0, {}, RecordDict(), {})
    app = make_server_app(lambda cohort, given: driven.append((cohort, given)), clock)
    app(grid, context)
    ((cohort, given),) = driven
    assert given is context
    assert isinstance(cohort, FlowerCohort)
    assert (cohort.grid, cohort.clock) == (grid, clock)
