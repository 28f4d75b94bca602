"""Pictures of a home's runs, from their own word on metrics and privacy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedchain.adapters.files import make_folder, replace_file
from fedchain.adapters.home import open_home
from fedchain.adapters.plots import Story, pictures
from fedchain.core.errors import InputError
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.export import RecordedRun, recorded_runs, run_named
from fedchain.wiring.progress import note_of, plots_path


def plot(home: Path, names: Sequence[str], to: Path | None) -> tuple[Path, ...]:
    """Draw one run, or how several compare, into a folder; of one run its own folder in the home, if `to` is None.

    Raises:
        InputError: if a run is not there or has no metrics, several have no folder, or that cannot be written.
    """
    opened = open_home(home)
    known = recorded_runs(opened, open_artifacts(opened))
    runs = [run_named(known, name) for name in names]
    for each in runs:
        if not each.metrics.by_round:
            raise InputError(
                f"run {each.manifest.run.hex()[:8]} has no metrics", expected="a round that was evaluated", got="none",
                remedy="repeat its command to go on, or choose another run with `fedchain runs`",
            )  # fmt: skip
    if to is None and len(runs) > 1:
        raise InputError("--to", expected="a folder for the pictures of several runs", got="none")
    folder = plots_path(opened, runs[0].manifest.run.hex()) if to is None else to
    make_folder(folder)
    drawn = pictures([story_of(each) for each in runs])
    for name, data in drawn.items():
        replace_file(folder / name, data)
    return tuple(folder / name for name in drawn)


def story_of(run: RecordedRun) -> Story:
    """Return what is drawn of a run."""
    name = f"{run.config.experiment}, run 0x{run.manifest.run.hex()[:8]}"
    return Story(name, run.metric, run.metrics, note_of(run.config))
