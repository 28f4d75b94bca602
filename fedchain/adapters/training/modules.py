"""Models of the experimenter's own: any torch module, made by a class or function that was loaded on purpose.

Its floating-point parameters and buffers are the model that is exchanged, in float64; every other buffer would need a
rule of its own for averaging, so it is refused unless the configuration freezes it by name. In a way of training a
model is named by its target, and only targets in a `Makers` are ever called: a task cannot name code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
import torch
from torch import nn

from fedchain.adapters.targets import own_code
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError
from fedchain.core.tensors import FloatTensors, TensorSchema

CUSTOM: Final = "custom"
OPTION: Final = "options."
_RESERVED: Final = frozenset({"inputs", "target", "frozen"})

Maker: TypeAlias = Callable[..., nn.Module]
Makers: TypeAlias = Mapping[str, Maker]
"""The models of one's own that may be made, by target."""

NO_MAKERS: Final[Makers] = MappingProxyType({})


def initial_tensors(options: Mapping[str, str], makers: Makers, seed: int) -> FloatTensors:
    """Return the tensors of a new module, made while torch's generator stands at the seed.

    Raises:
        InputError: if the target is not among the makers, fails, or makes what cannot be exchanged.
    """
    return exchanged(make(options, makers, seed), frozen_of(options))


def module_of(options: Mapping[str, str], makers: Makers, tensors: FloatTensors) -> nn.Module:
    """Return the module in float64 that holds `tensors`; its frozen buffers are as it was made.

    Raises:
        InputError: if the module cannot be made, or the tensors are another model's.
    """
    module = make(options, makers, 0)
    expected, got = TensorSchema.of(exchanged(module, frozen_of(options))), TensorSchema.of(tensors)
    if got != expected:
        raise InputError(
            f"tensors of the model {options['target']}", expected=described(expected), got=described(got),
            remedy="start a new run with --fresh, or restore the model that the run began with",
        )  # fmt: skip
    module.load_state_dict({name: torch.from_numpy(np.array(each)) for name, each in tensors.items()}, strict=False)
    return module


def exchanged(module: nn.Module, frozen: frozenset[str] = frozenset()) -> FloatTensors:
    """Return a copy of a module's tensors in float64, by name, without its frozen buffers.

    Raises:
        InputError: if it has none, or a tensor is not floating point and not frozen.
    """
    state = {name: each for name, each in module.state_dict().items() if name not in frozen}
    odd = sorted(name for name, each in state.items() if not each.is_floating_point())
    if odd:
        raise InputError(
            f"buffer {odd[0]} of the model", expected="floating point", got=state[odd[0]].dtype,
            remedy=f"freeze it with model.frozen=[{','.join(odd)[:200]}], or use a layer without it (GroupNorm)",
        )  # fmt: skip
    if not state:
        raise InputError("the model", expected="parameters to train", got="none")
    return {name: each.detach().cpu().double().numpy().copy() for name, each in state.items()}


def frozen_of(options: Mapping[str, str]) -> frozenset[str]:
    """Return the names of the buffers that are not exchanged."""
    return frozenset(filter(None, options.get("frozen", "").split(",")))


def described(schema: TensorSchema) -> str:
    """Return a schema in words, cut at eight tensors."""
    pairs = zip(schema.names, schema.shapes, strict=True)
    return ", ".join(f"{name[:40]} {shape}" for name, shape in list(pairs)[:8]) or "none"


def arguments_of(options: Mapping[str, str]) -> dict[str, object]:
    """Return options as the arguments that they are written for: numbers, truth values and null as such, else text."""
    return {name: _scalar(text) for name, text in options.items()}


def make(options: Mapping[str, str], makers: Makers, seed: int) -> nn.Module:
    """Return a new module in float64, made while torch's generator stands at the seed.

    Raises:
        InputError: if the target is not among the makers, fails, or makes no module.
    """
    unknown = sorted(name for name in options if name not in _RESERVED and not name.startswith(OPTION))
    if unknown or "target" not in options:
        raise InputError("options of a model of one's own", expected="a target and options", got=sorted(options))
    target = options["target"]
    if target not in makers:
        raise InputError(
            f"the model {target[:80]} is not registered here", expected=f"one of {sorted(makers)}", got=target[:80],
            remedy="who wants to train it loads it on purpose: model.target in a configuration of one's own",
        )  # fmt: skip
    arguments = arguments_of({n.removeprefix(OPTION): text for n, text in options.items() if n.startswith(OPTION)})
    with own_code(target), seeded(f"{seed}/{target}"):
        module = makers[target](**arguments)
    if not isinstance(module, nn.Module):
        raise InputError(f"target {target}", expected="a torch.nn.Module", got=type(module).__name__)
    return module.double()


@contextmanager
def seeded(label: str) -> Iterator[None]:
    """Let torch's own generator start from a label, for initial weights and dropout; restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(tagged("torch-seed", label.encode())[:7], "big"))
        yield


def _scalar(text: str) -> object:
    try:
        value: object = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) or value is None else text
