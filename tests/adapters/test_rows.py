"""The card of an app's rows: their number, and a digest of what they hold, whatever they are made of."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from fedchain.adapters.datasets.rows import card_of
from fedchain.core.errors import InputError

X, Y = torch.arange(12.0).reshape(6, 2), torch.tensor([0, 1, 0, 1, 0, 1])


def digest(loaded: object) -> str:
    return card_of("heart", loaded).files["rows"]


def test_a_loader_stands_for_its_dataset_in_the_datasets_own_order() -> None:
    data = TensorDataset(X, Y)
    shuffled = DataLoader(data, batch_size=4, shuffle=True)
    assert card_of("heart", shuffled) == card_of("heart", data)
    assert card_of("heart", data).nominal_size == 6


def test_every_value_every_type_and_every_place_counts() -> None:
    changed = X.clone()
    changed[5, 1] += 1
    others = [
        TensorDataset(X, Y),
        TensorDataset(changed, Y),
        TensorDataset(X.double(), Y),
        TensorDataset(X.flip(0), Y),
        TensorDataset(Y, X),
        [(X[n], int(Y[n])) for n in range(6)],
        [{"img": X[n], "label": "no"} for n in range(6)],
        [{"img": X[n], "label": b"no"} for n in range(6)],
        [{"img": X[n], "label": None} for n in range(6)],
    ]
    assert len({digest(each) for each in others}) == len(others)


def test_the_order_of_keys_and_of_bytes_does_not_count() -> None:
    one = [{"a": np.array([1, 2], "<i4"), "b": 0.5}]
    other = [{"b": 0.5, "a": np.array([1, 2], ">i4")}]
    assert digest(one) == digest(other)


def test_an_array_is_the_same_rows_as_a_tensor() -> None:
    assert digest([X[0]]) == digest([X[0].numpy()])


@pytest.mark.parametrize("loaded", [[], 7, iter([1])], ids=["empty", "number", "iterator"])
def test_what_holds_no_rows_is_refused(loaded: object) -> None:
    with pytest.raises(InputError, match="the rows of heart: expected a loader"):
        card_of("heart", loaded)


@pytest.mark.parametrize("row", [object(), np.array(["text"]), [1, {2}]], ids=["object", "text", "set"])
def test_a_row_that_has_no_digest_is_refused(row: object) -> None:
    with pytest.raises(InputError, match="a row: expected arrays"):
        card_of("heart", [row])
