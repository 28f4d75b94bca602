"""DP-SGD of one client after the other by book-keeping: for convolutions, where vectorising over clients loses.

One backward pass finds the slope at each layer's output and stops there; from it and the layer's input come the norms
and then one weighted product a layer. For a linear layer no gradient per record is made; for a convolution it is the
product of slopes and input patches, which is small beside them (Bu et al., ICML 2023).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import nn

from fedchain.adapters.training.clipping import clip_factors, rounding_of
from fedchain.adapters.training.engine.loop import pull_back, read
from fedchain.adapters.training.engine.noise import StepNoise, private_rates
from fedchain.adapters.training.engine.recipe import Job, load, sizes
from fedchain.adapters.training.losses import Loss, per_record
from fedchain.adapters.training.modules import seeded
from fedchain.adapters.training.secret_stream import SecretStream

Kept: TypeAlias = nn.Linear | nn.Conv1d | nn.Conv2d
MAX_NUMBERS = 1 << 22
"""Numbers that per-record gradients and patches may take at once."""


def keeps_books(module: nn.Module) -> bool:
    """Whether every parameter belongs to a linear layer or an ungrouped, zero-padded convolution, used once."""
    mine = {id(parameter) for layer in kept(module) for parameter in layer.parameters()}
    all_parameters = [id(parameter) for parameter in module.parameters()]
    return set(all_parameters) == mine and sum(len(list(layer.parameters())) for layer in kept(module)) == len(mine)


def is_chain(module: nn.Module) -> bool:
    """Whether a module is a sequence of torch's own layers, each in it once: then its layers are all there is to it.

    A forward function of somebody's own could use a weight where no book is kept of it.
    """
    if type(module) is not nn.Sequential:
        return type(module).__module__.startswith("torch.nn.")
    inside = list(module)
    return len({id(each) for each in inside}) == len(inside) and all(is_chain(each) for each in inside)


def kept(module: nn.Module) -> list[Kept]:
    """Return the layers whose gradients are kept in books, in the order of the module's parameters."""
    return [
        each
        for each in module.modules()
        if isinstance(each, nn.Linear) or (isinstance(each, nn.Conv1d | nn.Conv2d) and _is_plain(each))
    ]


def train(job: Job, out: torch.Tensor) -> None:
    """Write the update of each part into its row of `out`; `keeps_books(job.module)` must hold."""
    parameters = list(job.module.parameters())
    per_sum, per_normal = private_rates(job)
    with Books(job.module).open() as books:
        for index, (part, row) in enumerate(zip(job.parts, out, strict=True)):
            stream = SecretStream(job.secret)
            noise = StepNoise([stream], len(job.base), part.steps, job.recipe.dtype)
            load(job.module, job.base)
            x, y = job.rows[part.client]
            with seeded(part.order):  # as the site's own trainer has it, for dropout
                for sample in stream.samples(len(y), part.batches_per_epoch, part.steps):
                    chosen = torch.from_numpy(sample)
                    sums = books.clipped_sums(x[chosen], y[chosen], job.recipe.loss, job.recipe.max_grad_norm)
                    normals = torch.split(noise.next()[0], sizes(job.module))
                    pull_back(parameters, job.base, job.recipe.pull)
                    with torch.no_grad():
                        for parameter, sum_, normal in zip(parameters, sums, normals, strict=True):
                            parameter.sub_(sum_, alpha=float(per_sum[index]))
                            parameter.sub_(normal.view_as(parameter), alpha=float(per_normal[index]))
            read(parameters, job.base, row)


@dataclass(slots=True, eq=False)
class Books:
    """Remembers each layer's input and output in a forward pass."""

    module: nn.Module
    inputs: dict[Kept, torch.Tensor] = field(default_factory=dict)
    outputs: dict[Kept, torch.Tensor] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[Books]:
        """Keep books until the end of the context."""
        hooks = [layer.register_forward_hook(self._remember) for layer in kept(self.module)]
        try:
            yield self
        finally:
            for hook in hooks:
                hook.remove()

    def _remember(self, layer: Kept, arguments: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if layer in self.outputs:
            raise AssertionError("a layer that is used twice has no books")
        self.inputs[layer], self.outputs[layer] = arguments[0].detach(), output

    def clipped_sums(self, x: torch.Tensor, y: torch.Tensor, loss: Loss, max_grad_norm: float) -> list[torch.Tensor]:
        """Return the sum of clipped gradients, one tensor a parameter; by parts of bounded memory."""
        total = [torch.zeros_like(each) for each in self.module.parameters()]
        if len(x) == 0:
            return total
        part = max(1, MAX_NUMBERS // sum(each.numel() for each in total))
        for some_x, some_y in zip(torch.split(x, part), torch.split(y, part), strict=True):
            self.inputs.clear()
            self.outputs.clear()
            losses = per_record(loss, self.module(some_x), some_y)
            layers = list(self.outputs)
            slopes = torch.autograd.grad(losses.sum(), list(self.outputs.values()))
            entries = [_entry(layer, self.inputs[layer], each) for layer, each in zip(layers, slopes, strict=True)]
            norms = torch.stack([entry.squared_norms() for entry in entries]).sum(0).sqrt_()
            room = rounding_of(x.dtype, len(x), sum(each.inputs.shape[1] for each in entries))
            factors = clip_factors(norms, max_grad_norm, room)
            self._add(total, layers, [entry.weighted(factors, norms) for entry in entries])
        return total

    def _add(self, total: list[torch.Tensor], layers: list[Kept], sums: Sequence[Sequence[torch.Tensor]]) -> None:
        by_parameter = {
            id(parameter): sum_
            for layer, some in zip(layers, sums, strict=True)
            for parameter, sum_ in zip(layer.parameters(), some, strict=True)
        }
        for parameter, each in zip(self.module.parameters(), total, strict=True):
            each.add_(by_parameter[id(parameter)].view_as(each))


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One layer's part of the books: inputs (records, inputs) or their patches, slopes, gradients where made.

    `gradients` is (records, outputs, inputs) for a convolution, whose bias has the slopes' sum over places.
    """

    inputs: torch.Tensor
    slopes: torch.Tensor
    gradients: torch.Tensor | None
    has_bias: bool

    def squared_norms(self) -> torch.Tensor:
        """Return each record's squared norm over the layer's parameters."""
        of_bias = self.slopes.square().sum(1)
        if self.gradients is None:
            return (self.inputs.square().sum(1) + float(self.has_bias)) * of_bias
        return self.gradients.flatten(1).square().sum(1) + (of_bias if self.has_bias else 0.0)

    def weighted(self, factors: torch.Tensor, norms: torch.Tensor) -> list[torch.Tensor]:
        """Return the weighted sums over the records: weight, then bias if there is one."""
        is_spoiled = ~torch.isfinite(norms)
        if is_spoiled.any():  # 0 * NaN is NaN
            for tensor in (self.inputs, self.slopes, *([] if self.gradients is None else [self.gradients])):
                tensor[is_spoiled] = 0.0
        if self.gradients is None:
            weight = (self.slopes * factors.unsqueeze(1)).t() @ self.inputs
        else:
            weight = factors @ self.gradients.flatten(1)
        return [weight, *([factors @ self.slopes] if self.has_bias else [])]


def _entry(layer: Kept, inputs: torch.Tensor, slopes: torch.Tensor) -> Entry:
    has_bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return Entry(inputs.clone(), slopes.clone(), None, has_bias)
    patches = _patches(layer, inputs)
    places = slopes.flatten(2)
    gradients = torch.bmm(places, patches.transpose(1, 2))
    return Entry(patches[:, :, 0], places.sum(2), gradients, has_bias)


def _patches(layer: nn.Conv1d | nn.Conv2d, inputs: torch.Tensor) -> torch.Tensor:
    """Return what each output place sees: (records, channels * kernel, places)."""
    if isinstance(layer, nn.Conv2d):
        return nn.functional.unfold(inputs, layer.kernel_size, layer.dilation, _padding(layer), layer.stride)
    pad, kernel, stride, dilation = _padding(layer)[0], layer.kernel_size[0], layer.stride[0], layer.dilation[0]
    windows = nn.functional.pad(inputs, (pad, pad)).unfold(2, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    return windows.permute(0, 1, 3, 2).flatten(1, 2)


def _padding(layer: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    return tuple(int(each) for each in layer.padding)  # no text: `_is_plain`


def _is_plain(layer: nn.Conv1d | nn.Conv2d) -> bool:
    """Whether a convolution is ungrouped and padded by given numbers of zeros."""
    return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
