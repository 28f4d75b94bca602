"""A model's file: read by the safetensors library, the same bytes each time, and no other model's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from fedchain.adapters.model_files import Checkpoint, encoded, read_model, write_model
from fedchain.core.errors import InputError
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.tensors import FloatTensors, TensorSchema

MODEL: FloatTensors = {"b.weight": np.array([[1.5, -2.0, 0.25]]), "a": np.array(0.125), "b.bias": np.array([-127.0])}
SCHEMA = TensorSchema.of(MODEL)
SAID = Checkpoint("0x" + "ab" * 32, 3, "bafkreia", "0x" + "12" * 32, "auroc", "0.875")


def refusal(path: Path, schema: TensorSchema = SCHEMA) -> str:
    with pytest.raises(InputError) as caught:
        read_model(path, schema)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_comes_back_and_the_library_reads_it_with_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints" / "best.safetensors"
    write_model(path, MODEL, SAID)
    found = read_model(path, SCHEMA)
    assert {name: each.tolist() for name, each in found.items()} == {n: each.tolist() for n, each in MODEL.items()}
    with safe_open(path, "np") as file:
        assert file.metadata() == {
            "format": "fedchain/checkpoint/1",
            "run": SAID.run,
            "round": "3",
            "cid": "bafkreia",
            "digest": SAID.digest,
            "metric": "auroc",
            "value": "0.875",
            "evaluated_on": "test rows of all sites (simulation)",
        }
        assert file.get_tensor("b.weight").tolist() == [[1.5, -2.0, 0.25]]


def test_one_model_is_one_byte_string_whatever_the_order() -> None:
    said = SAID.metadata()
    turned = encoded(dict(reversed(MODEL.items())), dict(reversed(said.items())))
    assert turned == encoded(MODEL, said)


def test_a_file_takes_the_place_of_the_one_before_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "last.safetensors"
    write_model(path, MODEL, SAID)
    write_model(path, {**MODEL, "a": np.array(2.0)}, SAID)
    assert float(read_model(path, SCHEMA)["a"]) == 2.0
    assert [each.name for each in tmp_path.iterdir()] == ["last.safetensors"]


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_every_value_of_fixed_point_survives_the_file(value: int) -> None:
    whole = {"w": np.array([value], "<i4")}
    data = encoded(FixedPoint().dequantise(whole), {})
    size = 8 + int.from_bytes(data[:8], "little")
    assert FixedPoint().quantise({"w": np.frombuffer(data, "<f8", 1, size)})["w"].tolist() == [value]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_file_of_torch_is_read_in_any_precision(kind: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "pretrained.safetensors"
    save_torch({name: torch.from_numpy(each).to(kind) for name, each in MODEL.items()}, path, {"made": "elsewhere"})
    found = read_model(path, SCHEMA)
    assert {name: each.tolist() for name, each in found.items()} == {n: each.tolist() for n, each in MODEL.items()}


def test_tensors_that_the_model_freezes_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "pretrained.safetensors"
    save_file({**{name: np.asarray(each) for name, each in MODEL.items()}, "steps": np.array([7])}, path)
    assert set(read_model(path, SCHEMA, {"steps"})) == set(MODEL)
    assert "has a tensor steps: it holds another model" in refusal(path)


def test_a_checkpoint_of_another_model_is_refused_by_the_name_of_the_tensor(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    write_model(path, {**MODEL, "b.weight": np.zeros((1, 4))}, SAID)
    line = refusal(path)
    assert "tensor b.weight is another model's: expected shape (1, 3), got (1, 4); choose the file of" in line
    write_model(path, {name: each for name, each in MODEL.items() if name != "b.bias"}, SAID)
    assert "has no tensor b.bias: it holds another model" in refusal(path)
    save_file({name: np.asarray(each).astype(np.int64) for name, each in MODEL.items()}, path)
    assert "tensor a: expected floating point, got I64" in refusal(path)


@pytest.mark.parametrize("data", [b"", b"\x80\x02}q\x00.", b"\xff" * 40, encoded(MODEL, {})[:-1]])
def test_what_is_no_safetensors_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    assert "is no safetensors file" in refusal(path)


def test_metadata_may_not_hide_a_tensor(tmp_path: Path) -> None:
    data = encoded(MODEL, {})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    header["__metadata__"] = {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}
    text = json.dumps({name: each for name, each in header.items() if name != "a"}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + size :])
    assert "is no safetensors file" in refusal(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "none.safetensors") in refusal(tmp_path / "none.safetensors")
