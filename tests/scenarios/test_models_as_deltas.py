"""A whole run whose models are stored as deltas: the same models, fewer bytes, and every fault is told."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fedchain.adapters.embedded_store import EmbeddedStore
from fedchain.adapters.home import open_home
from fedchain.config import EncryptionConfig, ExperimentConfig, ModelConfig
from fedchain.core.cid import Cid
from fedchain.core.delta import is_delta
from fedchain.core.lineage import Lineage, Verdict
from fedchain.ports.watcher import Event, RoundEnded
from fedchain.wiring.confidential import open_artifacts
from fedchain.workflow.model_series import ModelSeries
from tests.adapters.store_files import file_of
from tests.scenarios.genuine import SMALL, check, run_quietly

ROUNDS = 4
LARGE = replace(SMALL, rounds=ROUNDS, model=ModelConfig("mlp", 2_000), encryption=EncryptionConfig("off"))
pytestmark = pytest.mark.slow


def with_every(every: int, encryption: str = "off") -> ExperimentConfig:
    mode = EncryptionConfig("on" if encryption == "on" else "off")
    return replace(LARGE, store=replace(LARGE.store, snapshot_every=every), encryption=mode)


def models_of(lineage: Lineage) -> list[Cid]:
    return [Cid.parse(each.model_cid) for each in lineage.rounds if each.kind == "sealed"]


def stored(home: Path, lineage: Lineage) -> list[bytes]:
    """The models as they lie in the store, decrypted."""
    artifacts = open_artifacts(open_home(home))
    return [artifacts.get(cid) for cid in models_of(lineage)]


def digests(lineage: Lineage) -> list[str]:
    return [each.model_digest for each in lineage.rounds]


def test_a_run_has_the_same_models_however_they_are_stored(tmp_path: Path) -> None:
    found: dict[str, list[str]] = {}
    for name, config in (("whole", with_every(1)), ("deltas", with_every(8)), ("private", with_every(8, "on"))):
        run_quietly(config, tmp_path / name)
        lineage = check(tmp_path / name, trusted=True)
        assert lineage.verdict is Verdict.VERIFIED
        found[name] = digests(lineage)
        deltas = [is_delta(data) for data in stored(tmp_path / name, lineage)]
        assert deltas == ([False] * ROUNDS if name == "whole" else [True] * (ROUNDS - 1) + [False])
        series = ModelSeries(open_artifacts(open_home(tmp_path / name)))
        assert len({len(series.get(cid)) for cid in models_of(lineage)}) == 1
    assert found["whole"] == found["deltas"] == found["private"]


class StoppedError(Exception):
    """Somebody stopped the run."""


def test_a_run_that_stopped_behind_a_delta_goes_on_and_a_damaged_delta_is_a_finding(tmp_path: Path) -> None:
    def stop_after_the_second(event: Event) -> None:
        if isinstance(event, RoundEnded) and event.round == 2:
            raise StoppedError

    with pytest.raises(StoppedError):
        run_quietly(with_every(3), tmp_path, stop_after_the_second)
    run_quietly(with_every(3), tmp_path)
    lineage = check(tmp_path, trusted=True)
    assert lineage.verdict is Verdict.VERIFIED
    assert [is_delta(data) for data in stored(tmp_path, lineage)] == [True, True, False, False]
    cid = models_of(lineage)[1]
    whole = file_of(tmp_path / "store", cid).read_bytes()
    file_of(tmp_path / "store", cid).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert {(each.claim, each.round) for each in check(tmp_path, trusted=True).findings} >= {("model", 2)}
    EmbeddedStore(tmp_path / "store").put(whole)
    assert check(tmp_path, trusted=True).verdict is Verdict.VERIFIED
