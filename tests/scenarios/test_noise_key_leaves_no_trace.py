"""The key of the noise is in no file that a private run leaves behind, in no encoding."""

from __future__ import annotations

import base64
import functools
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from fedchain.config import PrivacyConfig, SimulationConfig
from fedchain.wiring import joint_training
from tests.scenarios.genuine import SMALL, run_quietly

pytestmark = pytest.mark.slow

KEY = bytes(range(101, 133))
PRIVATE = replace(SMALL, rounds=1, privacy=PrivacyConfig("dp", 8.0, 1e-5, 1.0))


def encodings(key: bytes) -> list[bytes]:
    """The key as bytes, hex, decimal and base64, in both byte orders."""
    texts = [
        each
        for order in (key, key[::-1])
        for each in (order.hex(), order.hex().upper(), str(int.from_bytes(order)), base64.b64encode(order).decode())
    ]
    return [key, key[::-1], *(text.encode() for text in texts)]


@pytest.mark.parametrize("engine", ["auto", "sites"])
def test_no_file_of_the_home_holds_the_key(
    engine: Literal["auto", "sites"], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def known(size: int) -> bytes:
        asked.append(size)
        return KEY[:size]

    trainer = {"auto": "CohortEngine", "sites": "TorchTrainer"}[engine]
    monkeypatch.setattr(joint_training, trainer, functools.partial(getattr(joint_training, trainer), secret=known))
    run_quietly(replace(PRIVATE, simulation=SimulationConfig(None, engine=engine)), tmp_path / "home")
    assert asked, "the known key was used"
    for path in (each for each in (tmp_path / "home").rglob("*") if each.is_file()):
        content = path.read_bytes()
        assert [form for form in encodings(KEY) if form in content] == [], path.name


def test_the_scan_would_find_it(tmp_path: Path) -> None:
    path = tmp_path / "leak"
    for form in encodings(KEY):
        path.write_bytes(b"x" + form + b"y")
        assert any(each in path.read_bytes() for each in encodings(KEY))
