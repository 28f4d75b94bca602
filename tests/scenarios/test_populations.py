"""A population in recorded runs: what it costs, what a verifier checks, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

import fedchain
import fedchain.core.population
import fedchain.wiring.hospitals
import fedchain.workflow.site
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.cli.exits import Exit
from fedchain.cli.main import main
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.errors import FedchainError, InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.lineage import Lineage, Verdict
from fedchain.core.manifest import RunManifest
from fedchain.core.population import Roster, drawn
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.rejection import Reason
from fedchain.core.tensors import decode
from fedchain.ports.training import LocalRound
from fedchain.wiring.confidential import open_artifacts
from fedchain.wiring.runs import runs
from fedchain.workflow.run_state import RunState

SANDBOX = fedchain.sandbox("machines", "made up")


def rows_of(client: int) -> tuple[Any, Any]:
    draws = np.random.default_rng(client)
    x = draws.normal(size=(30, 4))
    return x, x[:, 0] + x[:, 1] > 0


def net(hidden: int = 6) -> nn.Module:
    return nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, 1))


def plant(clients: int = 40, drawn: int = 8) -> fedchain.Partition:
    return fedchain.make_population("plant", rows_of, SANDBOX, fedchain.Roll(clients, 30, drawn), test=rows_of(999))


def federated(home: Path, *overrides: str, data: list[fedchain.Partition] | None = None) -> fedchain.Federated:
    plain = ["rounds=3", "privacy=off", "strategy.min_clients=1", "strategy.learning_rate=0.3", "ledger=log"]
    return fedchain.federate(net, [plant()] if data is None else data, *plain, *overrides, home=home)


def instances(found: Lineage) -> dict[str, int]:
    return {each.name: each.instances for each in found.claims}


def test_every_drawn_client_is_counted_by_the_verifier_and_shown_by_the_lineage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    done = federated(home)
    assert done.summary.rejections == ()
    found = done.lineage.verify()
    assert (found.verdict, found.findings) == (Verdict.VERIFIED, ())
    counted = instances(found)
    assert (counted["population"], counted["model"], counted["payload"]) == (24, 3, 3)
    assert "none has a key" in next(each.statement for each in found.claims if each.name == "clients")
    assert done.metrics["plant"]["rows"] == 30
    assert done.metrics["plant"]["auroc"] > 0.8
    capsys.readouterr()
    arguments = ["lineage", "--home", str(home), "--trust", str(open_home(home).trust)]
    assert main([*arguments, "--json"]) == Exit.DONE
    parts = [part for each in json.loads(capsys.readouterr().out)["lineage"] for part in each["contributions"]]
    assert [(each["population"]["clients"], each["population"]["drawn"]) for each in parts] == [(40, 8)] * 3
    assert main(arguments) == Exit.DONE
    assert "8 of 40 clients" in capsys.readouterr().out


def test_the_model_is_the_base_and_the_mean_of_the_clients_that_the_round_draws(tmp_path: Path) -> None:
    done = federated(tmp_path / "home", "rounds=1")
    store, run = open_artifacts(Home(tmp_path / "home"), "aggregator"), bytes.fromhex(done.lineage.run[2:])
    planned = RunState.replay(read_journal(Home(tmp_path / "home").journal(run.hex()))).planned
    assert planned is not None
    manifest = document.from_bytes(RunManifest, store.get(Cid.parse(planned.manifest_cid)))
    (sealed,) = [each for each in done.lineage.verify().rounds if each.kind == "sealed"]
    before, after = (decode(store.get(Cid.parse(cid))) for cid in (manifest.initial_model.cid, sealed.model_cid))
    (member,) = manifest.cohort
    assert member.roster is not None
    clients, encoding = drawn(run, 1, member.roster.roster), FixedPoint()
    batches = batches_per_epoch(30, manifest.training.batch_size)
    local = LocalRound(manifest.training, Release(0, batches, manifest.training.steps(batches)), 1, 30)
    makers = {manifest.training.model_options["target"]: net}
    updates = [
        encoding.quantise(TorchTrainer(alone(client), makers=makers).train(encoding.dequantise(before), local))
        for client in clients
    ]
    for name, array in after.items():
        mean = np.mean([each[name] for each in updates], axis=0)
        assert np.abs(array - before[name] - mean).max() <= 1  # units of 2^-24: one rounding that tips
    assert any(np.abs(after[name] - before[name]).max() > 1000 for name in after)


def alone(client: int) -> fedchain.Partition:
    """A drawn client as the engine names it, for a trainer of its own."""
    made = plant()
    x, y = rows_of(client)
    card = replace(made.card, name=f"{made.card.name}/{client}", nominal_size=30)
    floats = np.asarray(x, np.float32), np.asarray(y, np.float32)
    return replace(made, train_x=floats[0], train_y=floats[1], card=card, population=None)


def test_a_population_takes_part_beside_a_site_with_rows_of_its_own(tmp_path: Path) -> None:
    data = [plant(), fedchain.make_partition("lab", *rows_of(77), SANDBOX)]
    done = federated(tmp_path / "home", "ledger=embedded", data=data)
    assert done.summary.rejections == ()
    found = done.lineage.verify()
    assert (found.verdict, instances(found)["population"], instances(found)["payload"]) == (Verdict.VERIFIED, 24, 6)
    weights = {each.weight for each in found.rounds[0].contributions}
    assert weights == {1200, 24}


def test_with_privacy_the_site_is_charged_as_one_client_who_is_in_every_round(tmp_path: Path) -> None:
    done = federated(tmp_path / "home", "privacy=dp", "strategy.batch_size=10")
    (spent,) = done.summary.privacy
    assert (spent.batches_per_epoch, spent.steps) == (3, 9)
    assert 7 < spent.micro_epsilon / 1e6 <= 8
    found = done.lineage.verify()
    assert (found.verdict, instances(found)["privacy"], instances(found)["population"]) == (Verdict.VERIFIED, 3, 24)


def test_a_run_that_was_interrupted_goes_on_with_the_same_clients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, calls = CohortEngine.train, list[set[str]]()

    def interrupted(engine: CohortEngine, base: Any, rounds: Any) -> Any:
        calls.append(set(rounds))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(engine, base, rounds)

    monkeypatch.setattr(CohortEngine, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        federated(tmp_path / "home")
    done = federated(tmp_path / "home")
    assert done.summary.is_resumed
    assert calls[1] == calls[2] != calls[0]
    assert instances(done.lineage.verify())["population"] == 24


def others(run: bytes, round_: int, roster: Roster) -> tuple[int, ...]:
    """Whom a site would rather have drawn."""
    return tuple(range(roster.drawn)) if drawn(run, round_, roster) != tuple(range(roster.drawn)) else (1, 2)


def test_a_site_that_chooses_its_clients_is_refused_with_the_reason_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fedchain.workflow.site, "drawn", others)
    with pytest.raises(FedchainError, match="round"):
        federated(tmp_path / "home")
    monkeypatch.undo()
    (row,) = runs(tmp_path / "home")
    state = RunState.replay(read_journal(Home(tmp_path / "home").journal(row.run)))
    assert {each.reason for _, each in state.refused} == {Reason.OTHER_CLIENTS}


def test_an_aggregator_that_lets_a_site_choose_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fedchain.workflow.site, "drawn", others)
    monkeypatch.setattr(fedchain.core.population, "drawn", others)
    done = federated(tmp_path / "home")
    monkeypatch.undo()
    found = done.lineage.verify()
    assert found.verdict == Verdict.FINDINGS
    assert {(each.claim, each.got) for each in found.findings} >= {("payload", Reason.OTHER_CLIENTS.words)}


def test_a_manifest_whose_roster_is_not_the_registered_dataset_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine: Any = vars(fedchain.wiring.hospitals)["_opening_of"]

    def other(*arguments: Any) -> Any:
        opening = genuine(*arguments)
        return replace(opening, roster=replace(opening.roster, least_rows=29))

    monkeypatch.setattr(fedchain.wiring.hospitals, "_opening_of", other)
    done = federated(tmp_path / "home")
    found = done.lineage.verify()
    assert found.verdict == Verdict.FINDINGS
    assert "configuration" in {each.claim for each in found.findings}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("simulation.engine=sites", "simulation.engine .* plant: expected auto, got sites"),
        ("device=cuda", "device"),
        ("strategy=scaffold", "strategy.name .* plant: expected one without controls of clients, got scaffold"),
    ],
)
def test_what_a_population_cannot_be_trained_by_is_refused_before_anything_is_made(
    override: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        federated(tmp_path / "home", override)
    assert not (tmp_path / "home").exists()
