"""What a model is worth on the donated rows, in integers alone: anyone gets the same number on any machine.

The statistic is the number of pairs of a positive and a negative row that the model ranks right, doubled so that a tie
counts half and stays whole: the Mann-Whitney statistic under AUROC, without its division.

The forward pass has no floats and no BLAS. Weights and rows are fixed point with F fraction bits. A linear layer is an
exact sum at 2F bits; between layers it is rounded once to F bits, half to even, passes ReLU and is cut at the largest
int32. The last layer's sums are compared as they are. A product of two int32 fits int64 but a sum of products does not,
so rows are split at bit 16 and the two sums are joined in Python's integers, or, between layers, in 16 and 47 bits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from fedchain.core.digest import Digest, tagged
from fedchain.core.errors import FormatError, InputError
from fedchain.core.tensors import decode, encode

STATISTIC: Final = "ranked-pairs/1"
MAX_INPUTS: Final = 1 << 15
"""Inputs of a layer: with more, the upper half of a sum could leave int64."""

_HALF: Final = 16
_LOW: Final = (1 << _HALF) - 1
_LIMIT: Final = (1 << 31) - 1
_OUTPUT: Final = "output"
_HIDDEN: Final = re.compile(r"hidden([1-9][0-9]{0,3})")
_NAMES: Final = {"donors", "features", "labels"}

Ints: TypeAlias = npt.NDArray[np.int32]
Wide: TypeAlias = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ValidationSet:
    """Donated rows (n, inputs) in fixed point, labels (n,) of 0 and 1, and each row's donor (n,) by place in a list."""

    features: Ints
    labels: Ints
    donors: Ints

    def to_bytes(self) -> bytes:
        """Return the canonical bytes: three int32 tensors."""
        return encode({"donors": self.donors, "features": self.features, "labels": self.labels})

    @classmethod
    def from_bytes(cls, data: bytes) -> ValidationSet:
        """Read canonical bytes.

        Raises:
            FormatError: if they are something else.
        """
        tensors = decode(data)
        if set(tensors) != _NAMES:
            raise FormatError("validation set", expected=f"the tensors {sorted(_NAMES)}", got=f"{len(tensors)} tensors")
        features, labels, donors = tensors["features"], tensors["labels"], tensors["donors"]
        if features.ndim != 2 or labels.shape != donors.shape or labels.shape != features.shape[:1]:
            raise FormatError("validation set", expected="one label and one donor a row", got=features.shape)
        if not np.isin(labels, (0, 1)).all():
            raise FormatError("labels of a validation set", expected="0 and 1", got="others")
        return cls(features, labels, donors)

    def counts(self, donors: int) -> tuple[int, ...]:
        """Return how many rows each of so many donors gave.

        Raises:
            FormatError: if a row names another donor.
        """
        if self.donors.size and not 0 <= int(self.donors.min()) <= int(self.donors.max()) < donors:
            raise FormatError("donors of a validation set", expected=f"0..{donors - 1}", got="others")
        return tuple(int(each) for each in np.bincount(self.donors, minlength=donors))


def validation_digest(data: bytes) -> Digest:
    """Return the digest of a validation set's canonical bytes."""
    return tagged("validation-set", data)


def value(model: Mapping[str, Ints], rows: ValidationSet, fraction_bits: int) -> int:
    """Return twice the number of pairs that a model ranks right on the donated rows, in 0..2 * pairs.

    Raises:
        InputError: if the model has other layers or inputs than can be scored.
    """
    return ranked_pairs(logits(model, rows.features, fraction_bits), rows.labels)


def ranked_pairs(scores: Sequence[int], labels: Ints) -> int:
    """Return 2 * (pairs with the positive row above the negative one) + (pairs that tie).

    Rows are taken by rising score: each positive one is above all negatives that came in lower groups.
    """
    groups: dict[int, list[int]] = {}
    for score, label in zip(scores, labels.tolist(), strict=True):
        groups.setdefault(score, [0, 0])[label] += 1
    below = twice = 0
    for score in sorted(groups):
        negatives, positives = groups[score]
        twice += positives * (2 * below + negatives)
        below += negatives
    return twice


def logits(model: Mapping[str, Ints], features: Ints, fraction_bits: int) -> list[int]:
    """Return each row's logit as an exact integer with 2 * fraction_bits fraction bits.

    Raises:
        InputError: if the model has other layers or inputs than can be scored.
    """
    *hidden, last = _layers(model, features.shape[1])
    rows = features
    for weight, bias in hidden:
        rows = _activated(*_linear(rows, weight, bias, fraction_bits), fraction_bits)
    upper, lower = _linear(rows, *last, fraction_bits)
    pairs = zip(upper[:, 0].tolist(), lower[:, 0].tolist(), strict=True)
    return [(high << _HALF) + low for high, low in pairs]


def _layers(model: Mapping[str, Ints], inputs: int) -> list[tuple[Ints, Ints]]:
    """The linear layers in the order of the forward pass: hidden1, hidden2, ..., output."""
    names = {name.rpartition(".")[0] for name in model}
    hidden = sorted((name for name in names if _HIDDEN.fullmatch(name)), key=lambda name: int(name[len("hidden") :]))
    ordered = [*(f"hidden{number + 1}" for number in range(len(hidden))), _OUTPUT]
    expected = {f"{layer}.{part}" for layer in ordered for part in ("weight", "bias")}
    if set(model) != expected:
        raise _unscorable(f"the layers {', '.join(ordered)}", ", ".join(sorted(model))[:200])
    layers = [(model[f"{layer}.weight"], model[f"{layer}.bias"]) for layer in ordered]
    for weight, bias in layers:
        if weight.shape != (bias.size, inputs) or bias.ndim != 1 or not 1 <= inputs <= MAX_INPUTS:
            raise _unscorable(f"layers that fit {inputs} inputs, at most {MAX_INPUTS}", weight.shape)
        inputs = bias.size
    if inputs != 1:
        raise _unscorable("one logit", inputs)
    return layers


def _linear(rows: Ints, weight: Ints, bias: Ints, fraction_bits: int) -> tuple[Wide, Wide]:
    """Return upper and lower part of rows @ weight.T + bias at 2F bits: the value is upper * 2^16 + lower."""
    wide = weight.astype(np.int64).T
    upper: Wide = (rows.astype(np.int64) >> _HALF) @ wide
    lower: Wide = (rows.astype(np.int64) & _LOW) @ wide
    shifted = bias.astype(np.int64) << fraction_bits  # below 2^61
    lower += shifted & _LOW
    upper += (shifted >> _HALF) + (lower >> _HALF)
    return upper, lower & _LOW


def _activated(upper: Wide, lower: Wide, fraction_bits: int) -> Ints:
    """Round to F bits half to even, then ReLU, then cut at the largest int32.

    Whatever lies at or above 2^15 * 2^16 * 2^F is cut anyway, so the join below cannot leave int64.
    """
    most = 1 << (31 + fraction_bits - _HALF)
    joined = (np.clip(upper, -1, most) << _HALF) + lower
    quotient = joined >> fraction_bits
    remainder, half = joined & ((1 << fraction_bits) - 1), 1 << (fraction_bits - 1)
    rounded = quotient + ((remainder > half) | ((remainder == half) & (quotient & 1 == 1)))
    activated: Ints = np.clip(rounded, 0, _LIMIT).astype(np.int32)
    return activated


def _unscorable(expected: object, got: object) -> InputError:
    return InputError("a model that cannot be scored", expected=expected, got=got, remedy="choose rewards=off")
