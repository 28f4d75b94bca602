"""The command itself, stopped past its round's deadline, killed with its tracking process, or started twice at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from fedchain.adapters.home import Home
from fedchain.adapters.journal_file import read_journal
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.ports.journal import Step
from fedchain.wiring.runs import runs
from fedchain.workflow.run_state import RunState
from tests.scenarios.genuine import check

ROOT: Final = Path(__file__).resolve().parents[2]
TIMEOUT_S: Final = 5
"""Seconds that a round may take."""
LONG_S: Final = 120
"""Seconds after which a process counts as hanging."""
COMPLETE: Final = [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
SLEPT_WHILE_SEALING: Final = (COMPLETE, [LinkKind.SEALED, LinkKind.ABORTED, LinkKind.SEALED, LinkKind.CLOSED])
RUN: Final = (
    "run", "experiment=heart", "privacy=off", "rounds=2", "strategy.batch_size=64",
    f"strategy.round_timeout_s={TIMEOUT_S}",
)  # fmt: skip


Blow = tuple[str, str, str, str]
NO_BLOW: Final = ("SIGKILL", "never", "after", "1")


def launched(home: Path, blow: Blow = NO_BLOW, tracking: str = "untracked") -> subprocess.Popen[str]:
    """Start the command in a process that gives itself a blow: signal, step, moment, occurrence."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONWARNINGS="ignore")
    launcher = [sys.executable, "-m", "tests.scenarios.crash.launcher", tracking, *blow]
    command = [*launcher, *RUN, "--json", "--home", str(home)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def stopped(home: Path, step: Step, moment: str = "after") -> Iterator[subprocess.Popen[str]]:
    """A process that has put itself to sleep at a step; it is woken and ended when the test is through with it."""
    with launched(home, ("SIGSTOP", step, moment, "1")) as process:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "the command came to this step"
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def completed(home: Path, tracking: str = "untracked") -> dict[str, object]:
    """Repeat the command to its end; return its document."""
    with launched(home, tracking=tracking) as process:
        out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == Exit.DONE, err
    document: dict[str, object] = json.loads(out)
    return document


def kinds_of(home: Path) -> list[LinkKind]:
    """How the rounds of the only run ended, in their order."""
    (row,) = runs(home)
    state = RunState.replay(read_journal(Home(home).journal(row.run)))
    assert state.is_finished
    assert state.sealed.keys() == state.decided.keys() == set(range(1, len(state.decided) + 1))
    return [state.decided[round_].link.kind for round_ in sorted(state.decided)]


@pytest.mark.slow
@pytest.mark.parametrize("step", [Step.OPENED, Step.ACCEPTED, Step.SEALING])
def test_a_process_that_sleeps_past_its_rounds_deadline_ends_and_the_round_has_a_record(
    step: Step, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with stopped(home, step) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(TIMEOUT_S + 2)
        os.kill(process.pid, signal.SIGCONT)
        _, err = process.communicate(timeout=LONG_S)
    assert process.returncode in {Exit.DONE, Exit.POLICY}
    if process.returncode == Exit.POLICY:
        assert "was aborted" in err.splitlines()[-1]
        assert completed(home)["resumed"] is True

    kinds = kinds_of(home)
    assert [each for each in kinds if each is not LinkKind.ABORTED] == COMPLETE
    # Sealing goes on beside the next round, so that it may be that one which is over. All that came with an update that
    # was accepted had been judged before the deadline, too: then the round is whole.
    may_be_whole = step is Step.ACCEPTED and kinds == COMPLETE
    is_asleep_while_sealing = step is Step.SEALING and kinds in SLEPT_WHILE_SEALING
    assert kinds[: -len(COMPLETE)] == [LinkKind.ABORTED] or may_be_whole or is_asleep_while_sealing
    lineage = check(home, trusted=True)
    assert (lineage.verdict, lineage.findings) == (Verdict.VERIFIED, ())


@pytest.mark.slow
def test_of_two_commands_for_one_run_the_second_refuses_in_one_line_and_disturbs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    with stopped(home, Step.FINISHED, "before") as first:
        (row,) = runs(home)
        for command, what in ((RUN, f"run 0x{row.run}"), (("store", "gc"), "home")):
            assert main([*command, "--home", str(home)]) == Exit.INPUT
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"fedchain: {what} is in use by process {first.pid}: got ")
        assert main(["verify", "--home", str(home)]) == Exit.UNPINNED, "reading beside the writer"
        os.kill(first.pid, signal.SIGCONT)
        first.communicate(timeout=LONG_S)
    assert first.returncode == Exit.DONE
    assert kinds_of(home) == COMPLETE


@pytest.mark.slow
def test_a_killed_command_and_its_tracking_are_resumed_by_the_same_command_which_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with launched(home, ("SIGKILL", Step.DECIDED, "after", "2"), "tracked") as process:
        process.communicate(timeout=LONG_S)
    assert process.returncode == -signal.SIGKILL

    assert completed(home, "tracked")["resumed"] is True
    assert kinds_of(home) == COMPLETE
    assert check(home, trusted=True).verdict is Verdict.VERIFIED
