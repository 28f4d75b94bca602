"""The noise cannot be subtracted: its key comes from the operating system, is used once and is never seen again."""

from __future__ import annotations

import ast
import base64
import dataclasses
import inspect
import logging
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fedchain
from fedchain.adapters.training.engine.cohort import CohortEngine
from fedchain.adapters.training.secret_stream import KEY_SIZE, SecretStream
from fedchain.adapters.training.trainer import TorchTrainer
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.task import LocalTraining, Task
from fedchain.core.tensors import FloatTensors, encode
from fedchain.ports.training import LocalRound
from tests.privacy.engines import ON_EACH_ENGINE, TrainerOf
from tests.privacy.synthetic import Mechanism, SiteTrainer, canaries

ROOT = Path(fedchain.__file__).parents[1]
KEY = bytes(range(7, 7 + KEY_SIZE))
MECHANISM = Mechanism(nominal_size=8, batch_size=4, noise_multiplier=1.0, epochs=2)
SITE = canaries(range(8), 50)


def production_modules() -> Iterator[tuple[Path, ast.Module]]:
    for package in ("fedchain", "clients", "server"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


def encodings(key: bytes) -> Iterator[bytes]:
    """The key as it is, in hex, in decimal and in base64, both byte orders, either half."""
    for part in (key, key[::-1], key[:16], key[16:]):
        yield part
        yield part.hex().encode()
        yield part.hex().upper().encode()
        yield base64.b64encode(part).rstrip(b"=")
        yield base64.urlsafe_b64encode(part).rstrip(b"=")
        yield str(int.from_bytes(part, "big")).encode()
        yield str(int.from_bytes(part, "little")).encode()
        yield ", ".join(map(str, part)).encode()
        yield repr(part)[2:-1].encode()


def noisy(trainer: SiteTrainer, seed: int = 0) -> FloatTensors:
    return dataclasses.replace(MECHANISM, seed=seed).noisy_sums(trainer)


@ON_EACH_ENGINE
def test_two_runs_with_one_seed_have_different_noise(engine: TrainerOf) -> None:
    one, other = (noisy(engine(SITE), seed=5)["output.weight"] for _ in range(2))
    assert not np.isclose(one, other).any()


@ON_EACH_ENGINE
def test_the_noise_is_a_function_of_the_key_alone_and_not_of_any_seed(engine: TrainerOf) -> None:
    trainer = engine(SITE, lambda _size: KEY)
    torch.manual_seed(98)
    first = noisy(trainer, seed=1)
    torch.manual_seed(99)
    again = noisy(trainer, seed=2)
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])


@ON_EACH_ENGINE
def test_training_leaves_torchs_own_generator_alone(engine: TrainerOf) -> None:
    before = torch.get_rng_state()
    noisy(engine(SITE))
    assert torch.equal(torch.get_rng_state(), before)


def test_every_call_asks_once_for_32_fresh_bytes() -> None:
    asked: list[int] = []

    def counted(size: int) -> bytes:
        asked.append(size)
        return os.urandom(size)

    trainer = TorchTrainer(SITE, counted)
    for _ in range(3):
        noisy(trainer)
    assert asked == [32, 32, 32]


def test_the_source_is_os_urandom() -> None:
    assert inspect.signature(TorchTrainer).parameters["secret"].default is os.urandom
    assert inspect.signature(CohortEngine).parameters["secret"].default is os.urandom
    assert inspect.signature(SecretStream).parameters["secret"].default is os.urandom


def test_production_gives_the_trainer_no_key_of_its_own() -> None:
    made = 0
    for path, module in production_modules():
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
            if name == "TorchTrainer":
                made += 1
                assert len(call.args) == 1, path
                assert {keyword.arg for keyword in call.keywords} <= {"makers", "device"}, path
            if name == "SecretStream":
                expected = "job.secret" if path.parent.name == "engine" else "self.secret"
                assert ast.unparse(call) == f"SecretStream({expected})", path
                assert path.parent.name == "engine" or path.name == "trainer.py", path
            if name == "CohortEngine":
                assert len(call.args) <= 2, path
                assert "secret" not in {keyword.arg for keyword in call.keywords}, path
            if name == "Job":
                assert ast.unparse(call.args[5]) in {"os.urandom", "self._secret", "self.secret"}, path
    assert "secret" not in {
        field.name for cls in (Task, LocalTraining, LocalRound) for field in dataclasses.fields(cls)
    }


def test_the_streams_module_reads_no_file_environment_or_argument() -> None:
    (module,) = [tree for path, tree in production_modules() if path.name == "secret_stream.py"]
    attributes = {ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert {name for name in attributes if name.startswith("os.")} == {"os.urandom"}
    names = {node.id for node in ast.walk(module) if isinstance(node, ast.Name)}
    assert not names & {"open", "Path", "sys", "input", "random"}


def test_the_key_appears_in_no_output_in_any_encoding(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    trainer = TorchTrainer(SITE, lambda _size: KEY)
    update = noisy(trainer)
    stream = SecretStream(trainer.secret)
    stream.normals(10)
    text, errors = capfd.readouterr()
    seen = [
        encode(FixedPoint().quantise({name: array / 1000 for name, array in update.items()})),
        *(array.tobytes() for array in update.values()),
        *(repr(thing).encode() for thing in (trainer, stream, update, trainer.partition)),
        text.encode(), errors.encode(), caplog.text.encode(),
        *(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()),
    ]  # fmt: skip
    for output in seen:
        for secret in encodings(KEY):
            assert secret not in output


def test_a_stream_holds_no_key_and_cannot_be_written_down() -> None:
    stream = SecretStream(lambda _size: KEY)
    for name in SecretStream.__slots__:
        assert KEY not in (value := getattr(stream, name), bytes(str(value), "utf-8"))
    with pytest.raises(TypeError):
        pickle.dumps(stream)


def test_a_refused_key_is_not_repeated_in_the_message() -> None:
    with pytest.raises(InputError, match="expected 32 bytes, got 31") as refusal:
        SecretStream(lambda _size: KEY[:31])
    for secret in encodings(KEY[:31]):
        assert secret not in str(refusal.value).encode()


@given(one=st.binary(min_size=32, max_size=32), other=st.binary(min_size=32, max_size=32), start=st.integers(0, 28))
def test_keys_that_agree_in_any_4_bytes_give_different_streams(one: bytes, other: bytes, start: int) -> None:
    agreeing = other[:start] + one[start : start + 4] + other[start + 4 :]
    if agreeing == one:
        return
    first, second = (SecretStream(lambda _size, key=key: key).words(64) for key in (one, agreeing))  # type: ignore[misc]
    assert not np.intersect1d(first, second).size


def test_every_byte_of_the_key_matters() -> None:
    streams = [SecretStream(lambda _size: KEY).words(8).tobytes()]
    for position in range(KEY_SIZE):
        for bit in range(8):
            changed = bytearray(KEY)
            changed[position] ^= 1 << bit
            streams.append(SecretStream(lambda _size, key=bytes(changed): key).words(8).tobytes())  # type: ignore[misc]
    assert len(set(streams)) == 1 + 8 * KEY_SIZE


def test_seeds_that_torchs_generator_confuses_give_different_streams() -> None:
    seeds = [5, 5 + 7 * 2**32]
    confused = [torch.randn(4, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    assert torch.equal(*confused)  # the reason for a stream of our own
    one, other = (SecretStream(lambda _size, seed=seed: seed.to_bytes(32, "little")).normals(4) for seed in seeds)  # type: ignore[misc]
    assert not torch.equal(one, other)
