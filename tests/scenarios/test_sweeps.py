"""Sweeps: many runs in one home at once, each verified; killed ones go on where they were; grants hold for all."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

import fedchain.cli.sweep
from fedchain.adapters.home import Home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.site_database import SiteDatabase
from fedchain.cli.exits import Exit
from fedchain.cli.sweep import SweepOptions, dry_run, sweep
from fedchain.core.lineage import Verdict
from fedchain.ports.launcher import Ended, Work
from fedchain.ports.watcher import Event
from fedchain.wiring.parties import site_names
from fedchain.wiring.record import verify
from fedchain.workflow.run_state import RunState
from tests.cli.samples import screen

ROOT: Final = Path(__file__).resolve().parents[2]
QUICK: Final = ("experiment=heart", "privacy=off", "rounds=1", "rewards=off", "strategy.batch_size=64")
LONG_S: Final = 500
"""Seconds after which a process counts as hanging."""
GUARDED: Final = """
import numpy as np
from fedchain.adapters.datasets.own import make_partition
from fedchain.core.policy import DataPolicy, GrantKind

def partitions():
    policy = DataPolicy("people", "made up", GrantKind.LIFETIME, 12_000_000, 10_000_000, "example", False)
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(2, 200, 4))
    return [make_partition(name, x, (x[:, 0] > 0) * 1.0, policy) for name, x in zip(("north", "south"), rows)]
"""
"""Two clinics whose data may lose epsilon 12 in all."""


class Silent:
    """Stands where MLflow's watcher stands."""

    def tell(self, job: str, event: Event) -> None:
        """Log nothing."""


@contextmanager
def silent(folder: Path, uri: str, warn: object) -> Iterator[Silent]:
    yield Silent()


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedchain.cli.sweep, "tracked", silent)


def one_by_one(work: Work, lines: Sequence[str], at_once: int) -> Generator[Ended, None, None]:
    """A launcher that needs no process."""
    for line in lines:
        work(line)
        yield Ended(line, "")


def options(home: Path, *overrides: str, fresh: bool = False) -> SweepOptions:
    return SweepOptions(overrides, None, home, is_default_home=False, fresh=fresh, at_once=2)


def swept(home: Path, *overrides: str, fresh: bool = False) -> tuple[Exit, dict[str, Any], str]:
    shown, out, err = screen(as_json=True)
    code = sweep(options(home, *overrides, fresh=fresh), shown, one_by_one)
    return code, json.loads(out.getvalue()), err.getvalue()


def runs_of(home: Path) -> set[str]:
    return {each.name for each in Home(home).runs.iterdir()}


def charges_of(home: Path) -> list[tuple[str, str, int, int]]:
    """Every charge of every site: site, run, round, attempt."""
    found = []
    for name in site_names(Home(home)):
        path = Home(home).site(name) / "site.sqlite"
        with sqlite3.connect(path) as database:
            datasets = database.execute("SELECT DISTINCT dataset FROM entry WHERE kind = 'charge'").fetchall()
        database.close()
        with closing(SiteDatabase(path)) as state:
            for (dataset,) in datasets:
                keys = [each.key for each in state.charges(bytes.fromhex(dataset))]
                found += [(name, key.run.hex(), key.round, key.attempt) for key in keys]
    return found


def check_every_run(home: Path, count: int) -> None:
    names = sorted(runs_of(home))
    assert len(names) == count
    for run in names:
        lineage = verify(home, run=run, heads=(), trust=Home(home).trust, scrub=False)
        assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ()), run
        assert RunState.replay(read_journal(Home(home).journal(run))).is_finished


def test_each_job_is_a_run_and_a_repeated_command_runs_what_is_left(tmp_path: Path, untracked: None) -> None:
    home = tmp_path / "home"
    code, document, err = swept(home, *QUICK, "seed=1,2")
    assert code == Exit.DONE
    assert [(each["overrides"], each["state"], each["rounds"]) for each in document["jobs"]] == [
        (["seed=1"], "finished", 1),
        (["seed=2"], "finished", 1),
    ]
    assert {each["run"].removeprefix("0x") for each in document["jobs"]} == runs_of(home)
    assert "job 2 of 2 (seed=2): round 1 of 1" in err.splitlines()
    assert "job 2 of 2 (seed=2): ended" in err.splitlines()
    check_every_run(home, 2)

    code, again, err = swept(home, *QUICK, "seed=2,1")
    assert code == Exit.DONE
    assert err.splitlines() == [f"sweep {document['sweep']}: 2 of 2 jobs are finished already; --fresh starts it again"]
    assert sorted(each["run"] for each in again["jobs"]) == sorted(each["run"] for each in document["jobs"])
    assert len(runs_of(home)) == 2


@pytest.mark.slow
def test_a_fresh_sweep_has_runs_of_its_own_and_a_job_that_fails_stops_no_other(tmp_path: Path, untracked: None) -> None:
    home = tmp_path / "home"
    first = swept(home, *QUICK, "strategy.min_clients=4,5")
    assert first[0] == Exit.POLICY
    assert [(each["state"], each["exit"]) for each in first[1]["jobs"]] == [("finished", 0), ("failed", 4)]
    assert "job 2 of 2 (strategy.min_clients=5): failed: not enough sites for a round" in first[2]
    again = swept(home, *QUICK, "strategy.min_clients=4,5", fresh=True)
    assert again[1]["sweep"] != first[1]["sweep"]
    assert again[1]["jobs"][0]["run"] != first[1]["jobs"][0]["run"]
    check_every_run(home, 2)


def guarded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    (folder / "guarded.py").write_text(GUARDED)
    monkeypatch.chdir(folder)
    own = ("data.name=custom", "data.target=guarded:partitions", "rewards=off", "rounds=1", "strategy.min_clients=2")
    return (*own, "privacy.epsilon=6", "strategy.batch_size=64")


def test_a_sweep_that_would_pass_a_grant_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untracked: None
) -> None:
    overrides, home = guarded(tmp_path, monkeypatch), tmp_path / "home"
    many = "seed=range(1,9)"
    with pytest.raises(ExceptionGroup) as caught:
        swept(home, *overrides, many)
    lines = [str(each) for each in caught.value.exceptions]
    assert [line.split(":")[0] for line in lines] == [
        "the sweep would pass the privacy grant of north",
        "the sweep would pass the privacy grant of south",
    ]
    assert "expected epsilon at most 12 over the dataset's lifetime, got " in lines[0]
    assert "needed by its 8 jobs; sweep fewer configurations" in lines[0]
    assert not home.exists()

    shown, out, err = screen(as_json=True)
    assert dry_run(options(home, *overrides, many), shown) == Exit.POLICY
    document = json.loads(out.getvalue())
    assert document["refusals"] == lines
    assert err.getvalue().splitlines() == [f"fedchain: {line}" for line in lines]
    needed = document["privacy"]["north"]["epsilon_total"]
    assert needed > 12 > document["privacy"]["north"]["epsilon_of_one_run"]
    assert f"{needed:.4f} needed" in lines[0]
    assert not home.exists()


@pytest.mark.slow
def test_what_was_charged_before_counts_and_what_is_finished_asks_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, untracked: None
) -> None:
    overrides, home = guarded(tmp_path, monkeypatch), tmp_path / "home"
    shown, out, _ = screen(as_json=True)
    dry_run(options(home, *overrides, "seed=1,2"), shown)
    planned = json.loads(out.getvalue())["privacy"]["north"]
    assert swept(home, *overrides, "seed=1,2")[0] == Exit.DONE
    check_every_run(home, 2)
    assert len(set(charges_of(home))) == len(charges_of(home)) == 4

    shown, out, _ = screen(as_json=True)
    assert dry_run(options(home, *overrides, "seed=1,2"), shown) == Exit.DONE
    assert json.loads(out.getvalue())["privacy"] == {}
    shown, out, _ = screen(as_json=True)
    dry_run(options(home, *overrides, "seed=3"), shown)
    after = json.loads(out.getvalue())["privacy"]["north"]
    assert after["epsilon_charged"] == pytest.approx(planned["epsilon_total"], abs=1e-6)
    assert after["epsilon_total"] > after["epsilon_charged"]


def command(home: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start the command in a process group of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    line = [sys.executable, "-m", "fedchain.cli.main", "run", "--multirun", "--home", str(home), *arguments]
    return subprocess.Popen(
        line, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


@pytest.mark.slow
def test_twenty_jobs_in_parallel_all_verify(tmp_path: Path) -> None:
    home = tmp_path / "home"
    arguments = ("--jobs", "20", "--json", "experiment=heart", "rounds=2", "seed=range(1,11)", "privacy.epsilon=4,8")
    with command(home, *arguments) as process:
        out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == Exit.DONE, err
    document = json.loads(out)
    assert [(each["state"], each["rounds"]) for each in document["jobs"]] == [("finished", 2)] * 20
    check_every_run(home, 20)
    charges = charges_of(home)
    assert len(charges) == len(set(charges)) == 20 * 2 * 4
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as database:
        tags = database.execute("select value, count(*) from tags where key = 'fedchain.sweep' group by value")
        assert tags.fetchall() == [(document["sweep"], 20)]
        assert database.execute("select distinct status from runs").fetchall() == [("FINISHED",)]
    database.close()


@pytest.mark.slow
@pytest.mark.parametrize("ended", [0, 2])
def test_a_killed_sweep_goes_on_with_the_same_runs_and_charges_nothing_twice(tmp_path: Path, ended: int) -> None:
    home = tmp_path / "home"
    arguments = ("--jobs", "2", "--json", "experiment=heart", "rounds=3", "seed=range(1,7)")
    with command(home, *arguments) as process:
        assert process.stderr is not None
        ends, halfway = 0, set[str]()
        while ends < ended or not halfway:
            line = process.stderr.readline()
            assert line, "the sweep ended before it was killed"
            job, _, what = line.partition(": ")
            if what.startswith("round 2 "):
                halfway.add(job)
            if what == "ended\n":
                halfway.discard(job)
                ends += 1
        os.killpg(process.pid, signal.SIGKILL)
    before, charged = runs_of(home), set(charges_of(home))
    assert 0 < len(before) < 6
    with command(home, *arguments) as process:
        out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == Exit.DONE, err
    document = json.loads(out)
    assert runs_of(home) == {each["run"].removeprefix("0x") for each in document["jobs"]}
    assert before < runs_of(home)
    assert "resumes at round" in err
    check_every_run(home, 6)
    charges = charges_of(home)
    assert len(charges) == len(set(charges)) == 6 * 3 * 4
    assert charged < set(charges)
