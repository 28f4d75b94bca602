"""`fedchain run`: an experiment from end to end, or what it would spend."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from fedchain.cli import report
from fedchain.cli.arguments import DEFAULT_HOME, HOME_VARIABLE, Verbs, add_verb, home_of
from fedchain.cli.display import PlainDisplay
from fedchain.cli.exits import Exit
from fedchain.cli.screen import Screen
from fedchain.config import ExperimentConfig
from fedchain.core.errors import InputError
from fedchain.ports.watcher import Watcher
from fedchain.workflow.summary import PlanSummary, RunSummary

TEXT = """\
Trains one model across all hospitals of the experiment, seals every round on the ledger, and reports test metrics,
the privacy spent and the command that verifies the record.

Repeating a command resumes an unfinished run of the same configuration; if there is none, it starts a new one.

overrides are Hydra's: key=value, several at once. A group chooses a file of conf/, a dotted key sets one value:

  fedchain run experiment=heart
  fedchain run experiment=heart privacy.epsilon=3 strategy.learning_rate=0.05
  fedchain run experiment=heart privacy=off

With --multirun an override may have several values, in Hydra's words: a,b,c, range(1,4), choice(a,b). Each combination
is a job: a run of its own, many at once. Repeating the command skips the jobs that are finished and resumes the others;
--dry-run adds up the epsilon of all jobs against each grant.

  fedchain run --multirun experiment=heart strategy.learning_rate=0.05,0.1 seed=1,2,3

groups: experiment, data, model, privacy, strategy, store, ledger, simulation (docs/configuration.md has every key)
"""


JOB_MODULE: Final = "fedchain.cli.sweep_job"
LAUNCHERS: Final = ("local", "joblib", "submitit")


class Simulate(Protocol):
    """A whole run in this process."""

    def __call__(self, config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool) -> RunSummary:
        """Run it, or resume it unless `fresh`."""
        ...


Plan: TypeAlias = Callable[[ExperimentConfig, Path], PlanSummary]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What the user asked for."""

    overrides: tuple[str, ...]
    config_dir: Path | None
    home: Path
    is_default_home: bool
    fresh: bool


def add_parser(verbs: Verbs) -> None:
    """Add the verb."""
    parser = add_verb(verbs, "run", _handle, summary="run an experiment end to end", text=TEXT)
    parser.add_argument("overrides", metavar="OVERRIDE", nargs="*", help="key=value, as above")
    parser.add_argument("--config-dir", metavar="DIR", help="a folder with more files for the groups")
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan and the epsilon it would spend; run nothing"
    )
    parser.add_argument("--fresh", action="store_true", help="start a new run even if one could be resumed")
    parser.add_argument("--multirun", action="store_true", help="sweep over all combinations of the overrides' values")
    parser.add_argument("--jobs", metavar="N", type=_count, help="of a sweep, so many at once (default: one a core)")
    parser.add_argument(
        "--launcher", choices=LAUNCHERS, help="what starts the jobs of a sweep (default: local, processes of our own)"
    )
    parser.add_argument(
        "--launcher-option", metavar="KEY=VALUE", action="append", default=[],
        help="a parameter of submitit, such as slurm_partition=gpu; may be given several times",
    )  # fmt: skip


def run(options: RunOptions, screen: Screen, simulate: Simulate) -> Exit:
    """Run the experiment with a display on standard error, then report."""
    config = _config(options)
    with _display(screen) as watcher:
        summary = simulate(config, options.home, watcher, fresh=options.fresh)
    trust = Path(summary.trust_file or options.home / "trust.json")
    command = report.verify_command(options.home, _from_here(trust), is_default_home=options.is_default_home)
    if screen.as_json:
        screen.document(report.document(summary, command))
    else:
        report.show(screen, summary, command)
    return Exit.DONE


def dry_run(options: RunOptions, screen: Screen, plan: Plan) -> Exit:
    """Tell what a run would do and spend."""
    planned = plan(_config(options), options.home)
    if screen.as_json:
        screen.document(report.plan_document(planned))
    else:
        report.show_plan(screen, planned)
    return Exit.DONE


def _config(options: RunOptions) -> ExperimentConfig:
    from fedchain.cli.compose import compose  # noqa: PLC0415 - Hydra and pydantic take half a second

    return compose(options.overrides, options.config_dir)


@contextmanager
def _display(screen: Screen) -> Iterator[Watcher]:
    """A live picture on a terminal, plain lines elsewhere; standard error in both cases."""
    if not screen.err.isatty() or os.environ.get("TERM") == "dumb":
        yield PlainDisplay(screen)
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

    from fedchain.cli.live import live  # noqa: PLC0415

    with live(Console(file=screen.err)) as watcher:
        yield watcher


def _from_here(path: Path) -> Path:
    """A path below the working folder as the user would write it."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_absolute() and path.is_relative_to(here) else path


def _simulate(config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool) -> RunSummary:
    from fedchain.cli.simulation import simulate  # noqa: PLC0415 - brings torch, Opacus and Flower with it

    return simulate(config, home, watcher, fresh=fresh)


def _plan(config: ExperimentConfig, home: Path) -> PlanSummary:
    from fedchain.wiring.plans import plan  # noqa: PLC0415 - brings torch and the accountant with it

    return plan(config, home)


def _handle(options: argparse.Namespace, screen: Screen) -> Exit:
    if options.multirun:
        return _sweep(options, screen)
    for name in ("jobs", "launcher", "launcher_option"):
        if getattr(options, name):
            raise InputError(f"--{name.replace('_', '-')} is for sweeps", remedy="add --multirun")
    overrides: Sequence[str] = options.overrides
    chosen = RunOptions(
        overrides=tuple(overrides),
        config_dir=None if options.config_dir is None else Path(options.config_dir),
        home=home_of(options),
        is_default_home=_is_default_home(options),
        fresh=options.fresh,
    )
    return dry_run(chosen, screen, _plan) if options.dry_run else run(chosen, screen, _simulate)


def _sweep(options: argparse.Namespace, screen: Screen) -> Exit:
    from fedchain.wiring.launchers import launcher_of  # noqa: PLC0415 - sweeps only, and before what follows

    name, parameters = options.launcher or LAUNCHERS[0], _pairs(options)
    launch = None if options.dry_run else launcher_of(name, JOB_MODULE, home_of(options), parameters)
    from fedchain.cli.sweep import SweepOptions, dry_run, sweep  # noqa: PLC0415 - brings torch and Hydra with it

    chosen = SweepOptions(
        overrides=tuple(options.overrides),
        config_dir=None if options.config_dir is None else Path(options.config_dir),
        home=home_of(options),
        is_default_home=_is_default_home(options),
        fresh=options.fresh,
        at_once=options.jobs,
    )
    return dry_run(chosen, screen) if launch is None else sweep(chosen, screen, launch)


def _pairs(options: argparse.Namespace) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in options.launcher_option:
        name, sign, value = str(text).partition("=")
        if not name.isidentifier() or not sign:
            raise InputError("--launcher-option", expected="key=value", got=repr(text)[:80])
        pairs[name] = value
    return pairs


def _is_default_home(options: argparse.Namespace) -> bool:
    return options.home in (None, DEFAULT_HOME) and not os.environ.get(HOME_VARIABLE)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError("--jobs", expected="a number from 1 on", got=repr(text)[:40])
    return int(text)
