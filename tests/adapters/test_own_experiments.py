"""The data of the experiments that are no hospital's: what is loaded, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fedchain.adapters.datasets import ai4i
from fedchain.adapters.datasets.heart import load_flamby
from fedchain.adapters.datasets.turbofan import CAP, RANGES, load
from fedchain.adapters.training.networks import cnn
from fedchain.adapters.training.trainer import check_private
from fedchain.core.errors import InputError


def test_the_product_lines_have_all_rows_and_failures() -> None:
    lines = ai4i.load()
    assert [each.name for each in lines] == ["line-l", "line-m", "line-h"]
    assert [len(each.train_y) + len(each.test_y) for each in lines] == [6000, 2997, 1003]
    assert sum(int(each.train_y.sum() + each.test_y.sum()) for each in lines) == 339
    assert all("SYNTHETIC" in each.policy.source and each.inputs == "5" for each in lines)
    assert max(float(np.abs(each.train_x).max()) for each in lines) < 2.5


def test_an_altered_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "predictive_maintenance.csv"
    copy.write_bytes(ai4i.FILE.read_bytes() + b"\n")
    monkeypatch.setattr(ai4i, "FILE", copy)
    with pytest.raises(InputError, match="expected sha256 9f0ede0b"):
        ai4i.load()


def test_flambys_hospitals_are_scaled_by_their_own_rows() -> None:
    hospitals = load_flamby()
    assert [len(each.train_y) for each in hospitals] == [199, 172, 30, 85]
    for each in hospitals:
        deviation = each.train_x.std(axis=0, ddof=1)
        assert np.abs(each.train_x.mean(axis=0)).max() < 1e-5
        assert ((np.abs(deviation - 1) < 1e-5) | (deviation < 1e-6)).all()


def engine(unit: int, cycles: int) -> list[str]:
    """One engine in NASA's format whose third sensor counts its cycles."""
    lines = []
    for cycle in range(1, cycles + 1):
        sensors = [0.0] * 21
        sensors[2] = 1570 + cycle
        lines.append(" ".join(map(str, [unit, cycle, 0.0, 0.0, 100.0, *sensors])) + " ")
    return lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    train = [line for unit, cycles in ((1, 40), (2, 200), (3, 31), (4, 10)) for line in engine(unit, cycles)]
    (tmp_path / "train_FD001.txt").write_text("\n".join(train) + "\n")
    (tmp_path / "test_FD001.txt").write_text("\n".join([*engine(1, 35), *engine(2, 4)]) + "\n")
    (tmp_path / "RUL_FD001.txt").write_text("7 \n150 \n")
    return tmp_path


def test_a_row_is_a_window_and_its_label_the_life_that_is_left(folder: Path) -> None:
    first, second = load(str(folder), fleets=2)
    assert first.inputs == second.inputs == f"{len(RANGES)}x30"
    assert len(first.train_y) == 11 + 2  # engines 1 and 3; engine 4 is shorter than a window
    assert first.train_y[:11] * CAP == pytest.approx(np.arange(10, -1, -1))
    assert second.train_y.max() == 1.0
    assert [*first.test_y, *second.test_y] == pytest.approx([7 / CAP, 1.0])
    third = list(RANGES).index(3)
    low, high = RANGES[3]
    assert first.train_x[0, third] * (high - low) / 2 + (high + low) / 2 == pytest.approx(np.arange(1571, 1601))
    assert len(set(second.test_x[0, third, :27])) == 1  # filled with its first cycle


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("train_FD001.txt", "1 2 3\n", "line 1: expected 26 finite numbers, got 1 2 3"),
        ("train_FD001.txt", "", "expected at least one line, got none"),
        ("RUL_FD001.txt", "7\n", "expected 2 lines, got 1"),
        ("RUL_FD001.txt", "nan\n7\n", "line 1: expected 1 finite numbers"),
        ("test_FD001.txt", None, "expected a file of NASA's C-MAPSS, got no such file; set data.options.directory"),
    ],
)
def test_other_files_are_refused_with_their_place(name: str, text: str | None, said: str, folder: Path) -> None:
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_text(text)
    with pytest.raises(InputError) as caught:
        load(str(folder), fleets=2)
    assert said in str(caught.value)


def test_more_fleets_than_engines_are_refused(folder: Path) -> None:
    with pytest.raises(InputError, match=r"expected 1..3 fleets"):
        load(str(folder), fleets=9)


def test_the_convolutions_fit_their_rows_and_can_be_trained_with_privacy() -> None:
    module = cnn(9, 128, outputs=6)
    check_private(module)
    assert module(torch.zeros(2, 9, 128)).shape == (2, 6)
