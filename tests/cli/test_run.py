from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.cli.exits import Exit
from fedchain.cli.run import RunOptions, dry_run, run
from fedchain.config import ExperimentConfig
from fedchain.core.errors import PolicyError
from fedchain.ports.watcher import RoundOpened, RunEnded, RunStarted, Watcher
from fedchain.workflow.summary import CheckpointSummary, PlanSummary, RunSummary
from tests.cli import samples
from tests.cli.samples import HOSTILE, PRIVACY, RUN, SUMMARY, screen

OPTIONS = RunOptions(("experiment=heart",), None, Path(".fedchain"), is_default_home=True, fresh=False)


class Simulation:
    """Stands in for a run: tells two events and returns the outcome it was made with."""

    def __init__(self, outcome: RunSummary = SUMMARY) -> None:
        self.outcome = outcome
        self.calls: list[tuple[ExperimentConfig, Path, bool]] = []

    def __call__(self, config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool) -> RunSummary:
        self.calls.append((config, home, fresh))
        watcher(RunStarted(RUN, "fe" * 32, config.experiment, 5, 1, False, ("cleveland",), "{}"))
        watcher(RoundOpened(1, 1))
        watcher(RunEnded(RUN))
        return self.outcome


def report(outcome: RunSummary, options: RunOptions = OPTIONS) -> str:
    shown, out, _ = screen()
    run(options, shown, Simulation(outcome))
    return out.getvalue()


def document(outcome: RunSummary, options: RunOptions = OPTIONS) -> dict[str, object]:
    shown, out, _ = screen(as_json=True)
    run(options, shown, Simulation(outcome))
    loaded: dict[str, object] = json.loads(out.getvalue())
    return loaded


def test_the_run_gets_the_composed_configuration_the_home_and_freshness() -> None:
    simulation = Simulation()
    shown, _, _ = screen()
    options = replace(OPTIONS, overrides=("experiment=heart_mlp", "rounds=7"), home=Path("elsewhere"), fresh=True)
    assert run(options, shown, simulation) == Exit.DONE
    ((config, home, fresh),) = simulation.calls
    assert (config.experiment, config.rounds, home, fresh) == ("heart_mlp", 7, Path("elsewhere"), True)


def test_a_run_that_pays_shows_what_was_earned_and_that_donated_rows_lie_in_plain() -> None:
    shown, out, _ = screen()
    run(OPTIONS, shown, Simulation())
    assert re.search(r"cleveland +3000001 +20", out.getvalue())
    assert "Donated rows leave their hospital" in out.getvalue()


def test_a_try_out_an_early_end_a_first_model_and_the_checkpoints_are_told() -> None:
    best = CheckpointSummary("best", "runs/ab/best.safetensors", 3, "auroc", 0.8765)
    told = replace(
        SUMMARY,
        is_debug=True,
        ending="stopped early after round 5: no better auroc for 2 rounds",
        initial="start.safetensors",
        checkpoints=(best,),
    )
    text = report(told)
    for line in (
        "DEBUG: a try-out",
        "Stopped early after round 5: no better auroc for 2 rounds",
        "Initial model imported from start.safetensors",
        "Best model, round 3, auroc 0.876: runs/ab/best.safetensors",
        "Best by test rows, which only a simulation has",
    ):
        assert line in text
    found = document(told)
    assert (found["debug"], found["ending"], found["initial_model"]) == (True, told.ending, told.initial)
    assert found["checkpoints"] == {
        "best": {"file": "runs/ab/best.safetensors", "round": 3, "metric": "auroc", "value": 0.8765}
    }
    plain = report(SUMMARY)
    assert not re.search("DEBUG|topped early|imported|Best", plain)


def test_a_plan_of_a_try_out_says_so() -> None:
    shown, out, _ = screen()
    dry_run(OPTIONS, shown, lambda *_: replace(samples.PLAN, is_debug=True))
    assert "DEBUG: a try-out" in out.getvalue()


def test_a_run_without_rewards_says_so() -> None:
    unpaid = replace(SUMMARY, rewards=())
    assert document(unpaid)["rewards"] == {}
    assert document(unpaid)["rewards_note"] == "this run pays no rewards"
    shown, out, _ = screen()
    run(OPTIONS, shown, Simulation(unpaid))
    assert "donated" not in out.getvalue().casefold()


def test_progress_goes_to_standard_error_and_the_result_to_standard_output() -> None:
    for as_json in (False, True):
        shown, out, err = screen(as_json=as_json)
        run(OPTIONS, shown, Simulation())
        assert "round 1/5: training" in err.getvalue()
        assert "round 1/5" not in out.getvalue()
        assert RUN in out.getvalue()


def test_the_document_has_every_promised_key() -> None:
    found = document(SUMMARY)
    promised = {
        "federation", "rounds", "model_cid", "model_digest", "ledger_head", "metrics", "privacy", "rejections",
        "rewards", "seconds", "run", "mode",
    }  # fmt: skip
    assert promised <= set(found)
    assert found["rewards"] == {"cleveland": {"earned": 3_000_001, "donated_rows": 20, "level": "self-reported"}}
    assert "earned in this run" in str(found["rewards_note"])
    assert found["level"] == "self-reported"
    assert found["payload_encryption"] == "none"
    assert found["metrics_note"] == "simulation: computed on held-out splits"
    assert found["privacy"] == {
        "cleveland": {
            "epsilon": 7.654321,
            "delta": 1e-5,
            "unit": "example",
            "mechanism": "poisson-subsampled-gaussian",
            "noise_multiplier": 0.8125,
            "sample_rate": 1 / 13,
            "steps": 65,
            "accountant": "prv",
            "epsilon_total": 9.000001,
            "grant": "sandbox",
            "epsilon_grant": 8.0,
            "level": "self-reported",
        }
    }
    assert found["rejections"] == [{"round": 2, "client": "node 7", "code": 6, "reason": "a float array of NaN"}]
    assert found["metrics"] == {
        "cleveland": {"auroc": 0.8765, "accuracy": 0.75, "rows": 104.0},
        "switzerland": {"accuracy": 0.9, "rows": 16.0},
        "overall": {"auroc": 0.871, "accuracy": 0.8, "rows": 120.0},
    }


def test_an_unbounded_epsilon_is_null_in_the_document() -> None:
    privacy = document(replace(SUMMARY, privacy=(samples.UNPROTECTED,)))["privacy"]
    assert isinstance(privacy, dict)
    assert privacy["hungary"]["epsilon"] is None
    assert privacy["hungary"]["epsilon_total"] is None


@pytest.mark.parametrize(
    "words",
    [
        "Test metrics by hospital (simulation: computed on held-out splits)",
        "cleveland",
        "0.876",
        "7.655",  # rounded up
        "9.001",
        "1e-05",
        "example",
        "poisson-subsampled-gaussian",
        f"Model CID     {samples.CID}",
        "Ledger head   0x" + "34" * 32,
        "Verify it: fedchain verify --trust .fedchain/trust.json",
        "CID: content identifier: a hash",
        "ledger head: the hash of the last sealed link",
        "seal: to record a round",
        "epsilon: bounds what",
        "delta: the small probability",
        "Payloads unencrypted",
        "Simulation: all hospitals and all keys are on this machine",
        "Self-reported: the use of real data and the adding of real noise",
        "a float array of NaN",
    ],
)
def test_the_report_says(words: str) -> None:
    assert words in report(SUMMARY)


def test_the_report_of_a_private_run_does_not_cry_wolf() -> None:
    assert "NO DIFFERENTIAL PRIVACY" not in report(SUMMARY)


def test_without_privacy_the_report_says_so_loudly() -> None:
    text = report(replace(SUMMARY, privacy=(samples.UNPROTECTED,)))
    assert text.count("NO DIFFERENTIAL PRIVACY") == 2
    assert "unbounded" in text


def test_one_unprotected_hospital_among_others_is_enough() -> None:
    assert "NO DIFFERENTIAL PRIVACY" in report(replace(SUMMARY, privacy=(PRIVACY, samples.UNPROTECTED)))


def test_a_resumed_run_says_so() -> None:
    assert "resumed after an interruption" in report(replace(SUMMARY, is_resumed=True))
    assert "resumed" not in report(SUMMARY)
    assert document(replace(SUMMARY, is_resumed=True))["resumed"] is True


def test_a_federation_is_not_called_a_simulation() -> None:
    text = report(replace(SUMMARY, mode="federation"))
    assert "simulation" not in text.lower()


def test_encrypted_payloads_are_not_called_unencrypted() -> None:
    text = report(replace(SUMMARY, payload_encryption="hpke-aes-256-gcm"))
    assert "Payloads encrypted (hpke-aes-256-gcm): each is for its own hospital" in text
    assert "unencrypted" not in text.lower()


@pytest.mark.parametrize("name", ["plain", "with space", "quote'", "$HOME", "-dash"])
def test_the_command_that_verifies_is_exact_for_any_home(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    options = replace(OPTIONS, home=home, is_default_home=False)
    command = document(replace(SUMMARY, trust_file=str(home / "trust.json")), options)["verify"]
    assert isinstance(command, str)
    assert shlex.split(command) == ["fedchain", "verify", "--home", str(home), "--trust", str(home / "trust.json")]


def test_a_trust_file_below_the_working_folder_is_named_as_the_user_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = document(replace(SUMMARY, trust_file=str(tmp_path / ".fedchain" / "trust.json")))
    assert found["verify"] == "fedchain verify --trust .fedchain/trust.json"


def test_hostile_names_and_reasons_cannot_steer_the_terminal() -> None:
    outcome = replace(
        SUMMARY,
        privacy=(replace(PRIVACY, client=HOSTILE, unit=HOSTILE),),
        metrics={HOSTILE: {HOSTILE: 0.5}},
        rejections=(replace(SUMMARY.rejections[0], client=HOSTILE, reason=HOSTILE),),
        payload_encryption=HOSTILE,
        model_cid=HOSTILE,
        ledger_head=HOSTILE,
    )
    text = report(outcome)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\x07" not in text
    assert "[bold]" in text  # rich would have eaten it as markup
    shown, out, _ = screen(as_json=True)
    run(OPTIONS, shown, Simulation(outcome))
    assert out.getvalue().isascii()
    assert "\x1b" not in out.getvalue()


def test_a_dry_run_tells_the_plan_and_runs_nothing() -> None:
    asked: list[tuple[str, Path]] = []

    def plan(config: ExperimentConfig, home: Path) -> PlanSummary:
        asked.append((config.experiment, home))
        return samples.PLAN

    shown, out, _ = screen()
    assert dry_run(OPTIONS, shown, plan) == Exit.DONE
    assert asked == [("heart", Path(".fedchain"))]
    assert "nothing was run or spent" in out.getvalue()
    assert "14 parameters" in out.getvalue()
    assert "7.655" in out.getvalue()
    shown, out, _ = screen(as_json=True)
    dry_run(OPTIONS, shown, plan)
    found = json.loads(out.getvalue())
    assert found["dry_run"] is True
    assert found["config_digest"] == "0x" + "56" * 32
    assert found["privacy"]["cleveland"]["epsilon"] == 7.654321


def test_what_stops_a_run_is_passed_on() -> None:
    def stopped(config: ExperimentConfig, home: Path, watcher: Watcher, *, fresh: bool) -> RunSummary:
        raise PolicyError("the grant of cleveland is exhausted")

    shown, out, _ = screen(as_json=True)
    with pytest.raises(PolicyError):
        run(OPTIONS, shown, stopped)
    assert out.getvalue() == ""
