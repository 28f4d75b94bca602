"""The models that clients train, by name; their tensors are the same bytes on every machine.

Models that come with fedchain map rows (batch, inputs) to one number each, (batch,). Options are decimal strings, since
they travel in a canonical document: `inputs` for both, `hidden` (units, comma-separated for several layers) for "mlp".
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedchain.adapters.training.modules import (
    CUSTOM,
    NO_MAKERS,
    Makers,
    described,
    exchanged,
    frozen_of,
    initial_tensors,
    module_of,
)
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors, TensorSchema

MAX_WIDTH: Final = 10**6
MAX_LAYERS: Final = 8
_OPTIONS: Final = {"logistic": frozenset({"inputs"}), "mlp": frozenset({"inputs", "hidden"})}
_OUTPUT: Final = "output"
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer by name: weight (outputs, inputs), bias (outputs,)."""

    name: str
    inputs: int
    outputs: int


def schema(model: str, options: Mapping[str, str], makers: Makers = NO_MAKERS) -> TensorSchema:
    """Return the names and shapes of a model's tensors.

    Raises:
        InputError: if the model or an option is unknown or out of range.
    """
    if model == CUSTOM:
        return TensorSchema.of(initial_tensors(options, makers, 0))
    shapes = _shapes(_layers(model, options))
    names = sorted(shapes, key=str.encode)
    return TensorSchema(tuple(names), tuple(shapes[name] for name in names))


def initial(model: str, options: Mapping[str, str], seed: int, makers: Makers = NO_MAKERS) -> FloatTensors:
    """Return the model that a run starts from: zeros for "logistic", for others drawn from the seed.

    Weights and biases are uniform in +-1/sqrt(inputs) (LeCun et al. 1998, and Torch's default), from Philox's raw
    output, which numpy freezes.

    Raises:
        InputError: if the model or an option is unknown or out of range.
    """
    if model == CUSTOM:
        return initial_tensors(options, makers, seed)
    layers = _layers(model, options)
    if model == "logistic":
        return {name: np.zeros(shape) for name, shape in _shapes(layers).items()}
    return {
        name: _uniform(f"{seed}/{name}", shape, 1 / math.sqrt(layer.inputs))
        for layer in layers
        for name, shape in _shapes((layer,)).items()
    }


def build(model: str, options: Mapping[str, str], tensors: FloatTensors, makers: Makers = NO_MAKERS) -> nn.Module:
    """Return the module in float64 that holds `tensors`; of models of one's own only those that `makers` has.

    Raises:
        InputError: if the model or an option is unknown, or the tensors are another model's.
    """
    if model == CUSTOM:
        return module_of(options, makers, tensors)
    layers = _layers(model, options)
    expected, got = schema(model, options), TensorSchema.of(tensors)
    if got != expected:
        raise InputError(f"tensors of the model {model}", expected=described(expected), got=described(got))
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for layer in layers:
        parts[layer.name] = nn.Linear(layer.inputs, layer.outputs, device="meta", dtype=torch.float64)
        if layer.name != _OUTPUT:
            parts[f"{layer.name}_relu"] = nn.ReLU()
    parts["logit"] = nn.Flatten(0)
    module = nn.Sequential(parts)
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}, assign=True)
    return module


def tensors_of(module: nn.Module, options: Mapping[str, str] = NO_OPTIONS) -> FloatTensors:
    """Return a copy of a module's tensors in float64, by name, without what its options freeze."""
    return exchanged(module, frozen_of(options))


def _layers(model: str, options: Mapping[str, str]) -> tuple[Layer, ...]:
    if model not in _OPTIONS:
        raise InputError("model.name", expected=f"one of {sorted(_OPTIONS)}", got=model[:40])
    if set(options) != _OPTIONS[model]:
        raise InputError(f"options of the model {model}", expected=sorted(_OPTIONS[model]), got=sorted(options))
    widths = [_width("inputs", options["inputs"])]
    hidden = options.get("hidden", "")
    widths += [_width("hidden", text) for text in hidden.split(",") if model == "mlp"]
    if len(widths) > MAX_LAYERS:
        raise InputError("model.hidden", expected=f"fewer than {MAX_LAYERS} layers", got=len(widths) - 1)
    names = [*(f"hidden{number}" for number in range(1, len(widths))), _OUTPUT]
    return tuple(Layer(*layer) for layer in zip(names, widths, [*widths[1:], 1], strict=True))


def _width(option: str, text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) <= 7 and 1 <= int(text) <= MAX_WIDTH:
        return int(text)
    raise InputError(f"model.{option}", expected=f"a whole number in 1..{MAX_WIDTH}", got=repr(text[:20]))


def _shapes(layers: Sequence[Layer]) -> dict[str, tuple[int, ...]]:
    weights: dict[str, tuple[int, ...]] = {f"{layer.name}.weight": (layer.outputs, layer.inputs) for layer in layers}
    biases: dict[str, tuple[int, ...]] = {f"{layer.name}.bias": (layer.outputs,) for layer in layers}
    return weights | biases


def _uniform(label: str, shape: tuple[int, ...], bound: float) -> npt.NDArray[np.float64]:
    key = np.frombuffer(tagged("initial-tensor", label.encode())[:16], "<u8")
    raw = np.random.Philox(key=key).random_raw(math.prod(shape))
    unit = np.ldexp((raw >> np.uint64(11)).astype(np.float64), -52) - 1.0
    return unit.reshape(shape) * bound
