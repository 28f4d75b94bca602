"""A run that is enough ends early, as a whole run ends: sealed, closed, verified, and the same after any crash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.config import CheckpointConfig, EarlyStoppingConfig, ExperimentConfig, ModelConfig
from fedchain.core.errors import InputError
from fedchain.core.lineage import Verdict
from fedchain.core.record import LinkKind
from fedchain.workflow.run_state import RunState
from fedchain.workflow.stopping import ending_of, goal_of, models_by_round
from fedchain.workflow.summarise import row_of
from tests.doubles.power import PowerCutError, after
from tests.scenarios.federation import Federation, Setup, federation


def after_two(state: RunState) -> bool:
    return state.rounds_sealed >= 2


def short(rounds: int = 5) -> Federation:
    new = federation(Setup(sites=2, rounds=rounds))
    new.is_enough = after_two
    return new


def config(patience: int = 2, metric: str | None = None, task: str = "binary") -> ExperimentConfig:
    known = replace(Setup(rounds=5).config(), early_stopping=EarlyStoppingConfig(patience))
    model = ModelConfig("logistic", 0, task)  # type: ignore[arg-type]  # a test names what it wants
    return replace(known, model=model, checkpoint=CheckpointConfig(metric))  # type: ignore[arg-type]  # likewise


def test_it_seals_closes_and_verifies_with_fewer_rounds() -> None:
    new = short()
    state = new.run()
    assert [each.link.kind for each in new.links()] == [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    assert state.is_finished
    new.check()
    found = new.verify(trust=new.trust(), scrub=True)
    assert (found.verdict, found.findings) == (Verdict.VERIFIED, ())


@pytest.mark.parametrize("moments", range(0, 60, 7))
def test_cut_off_anywhere_it_ends_the_same(moments: int) -> None:
    new = short()
    try:
        new.machine(after(moments)).run()
    except PowerCutError:
        new.run()
    assert [each.link.kind for each in new.links()] == [LinkKind.SEALED, LinkKind.SEALED, LinkKind.CLOSED]
    assert new.verify(trust=new.trust()).verdict is Verdict.VERIFIED


def test_a_round_that_is_open_is_ended_first() -> None:
    new = federation(Setup(sites=2, rounds=3))
    with pytest.raises(PowerCutError):
        new.machine(after(6)).run()
    assert RunState.replay(new.journal.entries()).opened is not None
    new.is_enough = lambda _: True
    assert new.run().rounds_sealed == 1


def test_it_says_after_which_round_and_why() -> None:
    new = short()
    state, manifest = new.run(), new.plan.manifest
    assert models_by_round(state).keys() == {1, 2}
    reason = "stopped early after round 2: no better auroc for 2 rounds"
    assert ending_of(state, manifest, config()) == reason
    row = row_of(manifest, state, config().canonical().decode())
    assert (row.state, row.rounds_ended, row.rounds, row.ending) == ("finished", 2, 5, reason)


def test_a_run_with_all_its_rounds_did_not_end_early() -> None:
    new = short(rounds=2)
    state = new.run()
    assert ending_of(state, new.plan.manifest, config()) == ""
    assert row_of(new.plan.manifest, state, "{}").ending == ""


@pytest.mark.parametrize(("task", "metric"), [("binary", "auroc"), ("multiclass", "accuracy"), ("regression", "rmse")])
def test_each_task_has_its_own_metric(task: str, metric: str) -> None:
    assert goal_of(config(task=task)).metric == metric


def test_a_metric_of_another_task_is_refused() -> None:
    with pytest.raises(InputError, match=r"checkpoint.metric: expected auroc or auprc or accuracy for .*, got rmse"):
        goal_of(config(metric="rmse"))
