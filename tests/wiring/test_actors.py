"""Actors are refused where they cannot be had or would not find what they train; what they open is the site itself."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedchain.adapters.home import create_home
from fedchain.config import EncryptionConfig, LedgerConfig, SimulationConfig
from fedchain.core.errors import InputError
from fedchain.wiring.actors import actors_of, check_actors, sites_in_actors
from fedchain.wiring.simulation import prepared
from tests.scenarios.genuine import SMALL, ignore

RAY = SimulationConfig(None, engine="sites", backend="ray")


def refusal(check: Callable[[], None]) -> str:
    with pytest.raises(InputError) as caught:
        check()
    return str(caught.value)


def test_without_ray_one_line_names_the_extra_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError) as caught, prepared(replace(SMALL, simulation=RAY), tmp_path / "home", ignore):
        pass
    assert str(caught.value) == (
        "simulation.backend ray: expected the package ray, got none; "
        "pip install 'fedchain[ray]', or choose simulation=default"
    )
    assert not (tmp_path / "home").exists()


def test_what_other_processes_cannot_load_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    check_actors(RAY, is_brought=False)
    check_actors(SimulationConfig(None), is_brought=True)
    assert "got objects of this process; name targets" in refusal(lambda: check_actors(RAY, is_brought=True))
    shuffled = replace(RAY, shuffle_replies=3)
    assert "expected null with simulation.backend ray, got 3" in refusal(
        lambda: check_actors(shuffled, is_brought=False)
    )


def test_there_are_as_many_actors_as_asked_for_and_else_no_more_than_nodes() -> None:
    assert actors_of(replace(RAY, workers=7), 3) == 7
    assert actors_of(RAY, 1) == 1


def test_a_run_may_go_on_with_the_other_backend() -> None:
    assert replace(SMALL, simulation=RAY).digest() == replace(SMALL, simulation=replace(RAY, backend="local")).digest()


@pytest.mark.parametrize("mode", ["on", pytest.param("off", marks=pytest.mark.slow)])
def test_a_site_is_opened_from_the_home_for_one_message_and_closed_after_it(tmp_path: Path, mode: str) -> None:
    plain = replace(SMALL, encryption=EncryptionConfig("on" if mode == "on" else "off"), ledger=LedgerConfig("log", 0))
    with prepared(plain, tmp_path, ignore) as simulation:
        own = simulation.hospitals[1].site
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a folder of this process
    with sites_in_actors(plain, create_home(tmp_path).root)(node(1)) as site:
        assert site is not own
        assert (site.name, site.device.address) == (own.name, own.device.address)
        assert site.dataset.commitment == own.dataset.commitment
        assert (site.domain, site.aggregator, type(site.payloads)) == (own.domain, own.aggregator, type(own.payloads))
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def node(partition: int) -> Context:
    return Context(1, 99, {"partition-id": partition, "num-partitions": 4}, RecordDict(), {})
