"""A run killed with SIGKILL before or after any journal step, once and twice: repeating the command completes it.

The steps come from the journal's own enum. One hospital has withdrawn its consent beforehand, so that rejections are
journaled, too.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.home import open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.site_database import SiteDatabase
from fedchain.adapters.training.accounting import PrvAccountant
from fedchain.config import ExperimentConfig, LedgerConfig, PrivacyConfig
from fedchain.core.lineage import Verdict
from fedchain.ports.journal import Entry, Step
from fedchain.ports.site_state import SiteState
from fedchain.wiring.bench import load_data
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.hospitals import dataset_of
from fedchain.wiring.parties import read_ledger
from fedchain.wiring.record import verify
from fedchain.wiring.runs import runs
from fedchain.workflow.run_state import Accepted, RunState, body_of
from tests.scenarios.genuine import SMALL, run_quietly, withdraw_consent
from tests.scenarios.invariants import (
    all_that_left_was_charged,
    every_model_is_what_its_updates_add_up_to,
    every_promise_is_kept_once,
    no_update_enters_twice,
    one_seal_a_round,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PLAIN = replace(SMALL, seed=7)
PRIVATE = replace(SMALL, seed=7, privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0))
IN_A_LOG = replace(PLAIN, ledger=LedgerConfig("log", 0))
MOMENTS = ("before", "after")
SHARES = 4
"""Parts that the sweep over later entries is cut into, for several workers."""
Kill = tuple[str, str, int]


class Zygote:
    """Real processes on demand, each forked from one that has imported everything."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
        command = [sys.executable, "-m", "tests.scenarios.crash.zygote"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, config: ExperimentConfig, home: Path, *kills: Kill, alarm_s: float = 0.0) -> int:
        """Return the wait status of a process that ran the experiment, until one of the kills or the alarm."""
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        request = {"home": str(home), "config": config.canonical().decode(), "kills": kills, "alarm_s": alarm_s}
        pipe_in.write(json.dumps(request) + "\n")
        pipe_in.flush()
        return int(pipe_out.readline())

    def close(self) -> None:
        """Let the process end."""
        self._process.communicate()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    process = Zygote()
    yield process
    process.close()


@pytest.fixture(scope="module")
def before_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished run and a withdrawn consent."""
    home = tmp_path_factory.mktemp("killed") / "home"
    run_quietly(replace(SMALL, rounds=1), home)
    withdraw_consent(home, "va")
    return home


@pytest.fixture
def home(before_the_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(before_the_run, tmp_path / "home")
    return tmp_path / "home"


def killed(status: int) -> bool:
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def check_everything(home: Path) -> None:
    """The second run is complete, it is the only second run, and every invariant holds."""
    rows = sorted((row.state, row.rounds_ended) for row in runs(home))  # both may have begun in the same second
    assert rows == [("finished", 1), ("finished", 2)]
    journals, states = check_invariants(home)
    for dataset, state in states.items():
        keys = [charge.key for charge in state.charges(dataset)]
        assert len(keys) == len(set(keys)) == 3, "one charge an attempt: one round of the first run, two of the second"
    second = next(each for each in journals if sum(entry.step is Step.DECIDED for entry in each) == 3)
    final = RunState.replay(second)
    assert set(final.receipts) == set(final.sealed), "every link is co-signed"
    assert sum(entry.step is Step.SEALED for entry in second) == len(final.sealed) == 3


def check_invariants(home: Path) -> tuple[list[Sequence[Entry]], dict[bytes, SiteState]]:
    """The record is verified and every invariant holds; return the runs' journals and the sites' states."""
    found = verify(home, run=None, heads=(), trust=home / "trust.json", scrub=True)
    assert (found.verdict, found.findings) == (Verdict.VERIFIED, ())
    opened = open_home(home)
    store, states = open_artifacts(opened), site_states(home)
    journals: list[Sequence[Entry]] = [read_journal(opened.journal(row.run)) for row in runs(home)]
    promises = [body.promise for entries in journals for body in map(body_of, entries) if isinstance(body, Accepted)]
    with read_ledger(opened) as ledger:
        one_seal_a_round(ledger)
        every_promise_is_kept_once(ledger, store, promises)
        no_update_enters_twice(ledger, store)
        every_model_is_what_its_updates_add_up_to(ledger, store)
        all_that_left_was_charged(ledger, store, states, PrvAccountant(), 1e-5)
    return journals, states


def site_states(home: Path) -> dict[bytes, SiteState]:
    opened = open_home(home)
    states: dict[bytes, SiteState] = {}
    for partition in load_data(SMALL.data, Path()):
        state = SiteDatabase(opened.site(partition.name) / "site.sqlite")
        states[dataset_of(partition, state)] = state
    return states


@pytest.mark.parametrize("step", [Step.ACCEPTED, Step.SEALING])
def test_a_run_killed_once_is_completed_by_the_same_command(step: Step, zygote: Zygote, home: Path) -> None:
    assert killed(zygote.run(PLAIN, home, (step, "after", 1)))
    assert zygote.run(PLAIN, home) == 0
    check_everything(home)


@pytest.mark.parametrize(("step", "moment"), list(itertools.product(Step, MOMENTS)))
def test_every_step_survives_one_kill_and_a_second_one_while_recovering(
    step: Step, moment: str, zygote: Zygote, home: Path
) -> None:
    kill = (step, moment, 1)
    assert killed(zygote.run(PLAIN, home, kill)), "every step occurs"
    if (step, moment) == (Step.FINISHED, "after"):
        check_everything(home)  # nothing was left to do, and repeating the command would start a new run
        return
    once = home.with_name("once")
    shutil.copytree(home, once)
    assert zygote.run(PLAIN, once) == 0
    check_everything(once)
    # Recovering may not come to this step again; then the command has completed already.
    again = zygote.run(PLAIN, home, kill, (Step.DECIDED, "after", 1), (Step.FINISHED, "before", 1))
    assert killed(again) or again == 0
    if again != 0:
        assert zygote.run(PLAIN, home) == 0
    check_everything(home)


@pytest.mark.parametrize("share", range(SHARES))
def test_every_later_entry_of_a_step_survives_a_kill_too(
    share: int, zygote: Zygote, before_the_run: Path, tmp_path: Path
) -> None:
    whole = tmp_path / "whole"
    shutil.copytree(before_the_run, whole)
    assert zygote.run(PLAIN, whole) == 0
    entries = [entry.step for entry in read_journal(open_home(whole).journal(runs(whole)[1].run))]
    later = [(step, entries[: index + 1].count(step)) for index, step in enumerate(entries)]
    for index, (step, occurrence) in enumerate(each for each in later if each[1] > 1):
        if index % SHARES == share:
            home = tmp_path / f"{step}-{occurrence}"
            shutil.copytree(before_the_run, home)
            assert killed(zygote.run(PLAIN, home, (step, MOMENTS[index // SHARES % 2], occurrence)))
            assert zygote.run(PLAIN, home) == 0
            check_everything(home)


@pytest.mark.parametrize("seed", range(6))
def test_kills_at_any_moment_from_an_empty_home_on_lose_and_repeat_nothing(
    seed: int, zygote: Zygote, tmp_path: Path
) -> None:
    home, draw = tmp_path / "home", random.Random(seed)
    statuses = [zygote.run(PLAIN, home, alarm_s=draw.uniform(0.02, 1.2)) for _ in range(8)]
    survived = [status for status in statuses if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM)]
    assert len(survived) < len(statuses)
    assert set(survived) <= {0}
    assert zygote.run(PLAIN, home) == 0
    assert {row.state for row in runs(home)} == {"finished"}
    check_invariants(home)


@pytest.mark.parametrize("step", [Step.OPENED, Step.ACCEPTED, Step.SEALED])
def test_with_privacy_an_attempt_is_charged_once_however_often_it_dies(step: Step, zygote: Zygote, home: Path) -> None:
    for moment in MOMENTS:
        assert killed(zygote.run(PRIVATE, home, (step, moment, 1)))
    assert zygote.run(PRIVATE, home) == 0
    check_everything(home)


@pytest.fixture
def home_with_a_log(tmp_path: Path) -> Path:
    """A home without a chain, with one finished run and a withdrawn consent."""
    home = tmp_path / "logged"
    run_quietly(replace(IN_A_LOG, seed=1, rounds=1), home)
    withdraw_consent(home, "va", IN_A_LOG.ledger)
    return home


@pytest.mark.parametrize(
    "step", [Step.SEALING, *(pytest.param(step, marks=pytest.mark.slow) for step in Step if step is not Step.SEALING)]
)
def test_a_run_without_a_chain_survives_kills_too(step: Step, zygote: Zygote, home_with_a_log: Path) -> None:
    assert killed(zygote.run(IN_A_LOG, home_with_a_log, (step, "before", 1)))
    assert zygote.run(IN_A_LOG, home_with_a_log) == 0
    check_everything(home_with_a_log)


@pytest.mark.parametrize("seed", range(3))
def test_without_a_chain_kills_at_any_moment_lose_and_repeat_nothing(seed: int, zygote: Zygote, tmp_path: Path) -> None:
    home, draw = tmp_path / "home", random.Random(seed)
    statuses = [zygote.run(IN_A_LOG, home, alarm_s=draw.uniform(0.02, 0.8)) for _ in range(8)]
    survived = [status for status in statuses if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM)]
    assert len(survived) < len(statuses)
    assert set(survived) <= {0}
    assert zygote.run(IN_A_LOG, home) == 0
    check_invariants(home)


def test_repeating_a_finished_command_starts_a_new_run_and_leaves_the_old_one_alone(zygote: Zygote, home: Path) -> None:
    finished = runs(home)[0]
    journal = open_home(home).journal(finished.run)
    before = journal.read_bytes()
    assert zygote.run(replace(SMALL, rounds=1), home) == 0
    assert [row.state for row in runs(home)] == ["finished", "finished"]
    assert journal.read_bytes() == before
