"""One site's local training: plain SGD, or DP-SGD (Abadi et al., CCS 2016) with gradients per record from Opacus.

Opacus' own optimiser is not used for three reasons: it draws noise from Torch's generator (32 bits of seed), it sums in
float32, and one NaN gradient passes its clipping. So clipping is `fedchain.adapters.training.clipping`, sampling and
noise come from `fedchain.adapters.training.secret_stream`, and a private step is

    sample each row with probability q = 1 / batches_per_epoch          (Poisson, secret)
    g = (sum of clipped gradients + sigma * C * normal) / (n * q)       (n: the public nominal size)
    parameters -= learning_rate * g

Rate, divisor and steps come from the release that was charged, never from the configuration alone.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from fedchain.adapters.datasets.partition import Partition
from fedchain.adapters.training.clipping import clipped_sum
from fedchain.adapters.training.device import CPU
from fedchain.adapters.training.losses import summed_loss
from fedchain.adapters.training.models import build, tensors_of
from fedchain.adapters.training.modules import Maker, Makers, seeded
from fedchain.adapters.training.opacus_parts import GradSampleModule, ModuleValidator
from fedchain.adapters.training.secret_stream import Secret, SecretStream
from fedchain.adapters.training.shuffling import shuffles
from fedchain.core.errors import InputError
from fedchain.core.privacy import Release, batches_per_epoch
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors
from fedchain.ports.training import LocalRound

OFF: Final = "off"
MIN_NOISE_MULTIPLIER: Final = 0.3
MAX_STEPS: Final = 10**6
ONE_AT_A_TIME: Final = threading.Lock()
"""Torch has one generator and one number of threads for a whole process, and sites may be asked on several threads."""
_CHUNK: Final = 1 << 22
"""Per-record gradients held at once, in numbers: bounds memory whatever the model and the batch."""


@dataclass(frozen=True, slots=True)
class TorchTrainer:
    """Trains on one partition. `secret` is os.urandom; only tests put another in its place.

    `makers` are the models of one's own that this site agreed to train. On another `device` than the CPU secrets are
    drawn on the CPU all the same, and moved.
    """

    partition: Partition
    secret: Secret = os.urandom
    makers: Makers = field(default_factory=dict[str, Maker])
    device: str = CPU

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """Return the update (trained minus base), float64 by tensor name.

        Raises:
            InputError: if the model cannot be built, does not match `base` or the rows, or the release is not the
                one that the configuration makes.
        """
        training = local.training
        check_release(local)
        inputs = training.model_options.get("inputs")
        if inputs != self.partition.inputs:
            raise InputError("model.inputs", expected=f"{self.partition.inputs} features", got=inputs)
        label = f"{training.seed}/{local.round}/{self.partition.card.name}"
        with ONE_AT_A_TIME:  # making a module draws from the generator, too
            module = build(training.model, training.model_options, base, self.makers).to(self.device)
            with single_threaded(), seeded(label):
                if local.release.is_protected:
                    train_privately(module, self.partition, local, SecretStream(self.secret))
                else:
                    train_plainly(module, self.partition, local)
        trained = tensors_of(module, training.model_options)
        return {name: trained[name] - array for name, array in base.items()}


def check_release(local: LocalRound) -> None:
    """Refuse a release that is not what the configuration and the nominal size make, or is outside the proofs.

    Raises:
        InputError: naming what was expected.
    """
    training, release = local.training, local.release
    if (training.epsilon != OFF) != release.is_protected:
        raise InputError("release", expected=f"privacy.epsilon {training.epsilon}", got=f"{release}")
    batches = batches_per_epoch(local.nominal_size, training.batch_size)
    expected = Release(release.noise_multiplier_e6, batches, training.steps(batches))
    if release != expected:
        raise InputError("release", expected=expected, got=release)
    if release.is_protected and (release.noise_multiplier < MIN_NOISE_MULTIPLIER or release.steps > MAX_STEPS):
        raise InputError(
            "release",
            expected=f"noise multiplier >= {MIN_NOISE_MULTIPLIER} and at most {MAX_STEPS} steps",
            got=release,
            remedy="choose a smaller epsilon, larger batches or fewer epochs",
        )


def check_private(module: nn.Module) -> None:
    """Refuse layers that mix the records of a batch, such as BatchNorm.

    Raises:
        InputError: naming the layer, with the advice to use GroupNorm.
    """
    errors = ModuleValidator.validate(module, strict=False)
    if errors:
        kinds = sorted({type(each).__name__ for each in module.modules() if "Norm" in type(each).__name__})
        raise InputError(
            "model cannot be trained with differential privacy",
            expected="layers that treat each record by itself",
            got=", ".join(kinds) or str(errors[0]),
            remedy="use GroupNorm in the place of BatchNorm",
        )


def train_plainly(module: nn.Module, partition: Partition, local: LocalRound) -> None:
    """Run SGD over shuffled batches; the order is a function of seed, round and dataset."""
    training = local.training
    rate = positive("strategy.learning_rate", training.learning_rate)
    rows, labels = _records(partition, module)
    parameters = trained_of(module)
    terms, taken = _Terms.of(local, module), 0
    for order in batch_orders(training, local.round, partition):
        for batch in torch.split(torch.from_numpy(order), training.batch_size):
            if taken == training.updates > 0:
                return
            taken += 1
            loss = summed_loss(training.task, module(rows[batch]), labels[batch]) / len(batch)
            gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            _step(parameters, terms.added(gradients), rate)


def train_privately(module: nn.Module, partition: Partition, local: LocalRound, stream: SecretStream) -> None:
    """Run DP-SGD for the steps of the release.

    Raises:
        InputError: if a layer mixes records, or a parameter is not a positive number.
    """
    check_private(module)
    training, release = local.training, local.release
    rate = positive("strategy.learning_rate", training.learning_rate)
    bound = positive("privacy.max_grad_norm", training.max_grad_norm)
    rows, labels = _records(partition, module)
    expected_batch = local.nominal_size / release.batches_per_epoch
    per_record = GradSampleModule(module, loss_reduction="sum")
    parameters = trained_of(module)
    terms = _Terms.of(local, module)
    for _ in range(release.steps):
        sample = torch.from_numpy(stream.sample(len(rows), release.batches_per_epoch))
        sums = _sum_of_clipped(per_record, (rows[sample], labels[sample]), training.task, bound)
        noisy = [_with_noise(each, release.noise_multiplier * bound, stream) for each in sums]
        _step(parameters, terms.added([each / expected_batch for each in noisy]), rate)


def _records(partition: Partition, module: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """Return rows and labels in float64, where the module is."""
    device = next((each.device for each in module.parameters()), torch.device(CPU))
    rows, labels = torch.from_numpy(partition.train_x), torch.from_numpy(partition.train_y)
    return rows.double().to(device), labels.double().to(device)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What no row enters, added to each gradient after clipping and noise, so that it costs no privacy.

    FedProx's pull towards the base is the gradient of mu/2 * |w - w_base|^2; SCAFFOLD's correction is c - c_i.
    """

    parameters: list[nn.Parameter]
    strength: float
    start: list[torch.Tensor]
    correction: list[torch.Tensor]

    @classmethod
    def of(cls, local: LocalRound, module: nn.Module) -> _Terms:
        text, parameters = local.training.proximal, trained_of(module)
        strength = 0.0 if text == "0" else positive("strategy.proximal", text)
        start = [each.detach().clone() for each in parameters] if strength else []
        return cls(parameters, strength, start, _correction(local, module))

    def added(self, gradients: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
        """Return the gradients with these terms."""
        if self.strength:
            pairs = zip(gradients, self.parameters, self.start, strict=True)
            gradients = [gradient + self.strength * (each.detach() - start) for gradient, each, start in pairs]
        if self.correction:
            gradients = [gradient + each for gradient, each in zip(gradients, self.correction, strict=True)]
        return gradients


def _correction(local: LocalRound, module: nn.Module) -> list[torch.Tensor]:
    """Return the correction of each parameter that training moves; none where the round has none."""
    if local.correction is None:
        return []
    named = ((name, each) for name, each in module.named_parameters() if each.requires_grad)
    return [torch.from_numpy(local.correction[name]).to(each.device) for name, each in named]


def batch_orders(training: LocalTraining, round_: int, partition: Partition) -> Iterator[npt.NDArray[np.intp]]:
    """Return the order of the rows for each epoch that is begun."""
    rows = len(partition.train_x)
    batches = batches_per_epoch(rows, training.batch_size)
    epochs = -(-training.steps(batches) // batches)
    return shuffles(order_label(training, round_, partition), rows, epochs)


def order_label(training: LocalTraining, round_: int, partition: Partition) -> str:
    """Return what an order of batches is a function of."""
    return f"{training.seed}/{round_}/{partition.card.name}"


@contextmanager
def single_threaded() -> Iterator[None]:
    """Train on one thread: sums then have one order, and small models do not wait for idle threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained_of(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training moves."""
    return [each for each in module.parameters() if each.requires_grad]


def _sum_of_clipped(
    per_record: GradSampleModule, records: tuple[torch.Tensor, torch.Tensor], task: str, bound: float
) -> list[torch.Tensor]:
    """Return the sum of clipped gradients, by parts of bounded memory; zeros for an empty sample."""
    rows, labels = records
    parameters = trained_of(per_record)
    total = [torch.zeros_like(each) for each in parameters]
    part = max(1, _CHUNK // sum(each.numel() for each in parameters))
    for some_rows, some_labels in zip(torch.split(rows, part), torch.split(labels, part), strict=True):
        if len(some_rows) == 0:
            break
        # Torch warns about Opacus' hooks where no input wants a gradient.
        torch.autograd.backward(summed_loss(task, per_record(some_rows.requires_grad_()), some_labels))
        for sum_, addend in zip(total, clipped_sum(_gradients(per_record), bound), strict=True):
            sum_.add_(addend)
        per_record.zero_grad()
    return total


def _gradients(per_record: GradSampleModule) -> list[torch.Tensor]:
    """Return the gradients per record, one tensor a parameter.

    Raises:
        InputError: if a parameter has none: its layer takes no part in the output, or hides its records from Opacus.
    """
    named = [(name, each) for name, each in per_record.named_parameters() if each.requires_grad]
    missing = [name.removeprefix("_module.") for name, each in named if each.grad_sample is None]
    if missing:
        raise InputError(
            f"parameter {missing[0]} has no gradient per record", expected="layers that Opacus knows, all of them used",
            got=", ".join(missing)[:80], remedy="use torch's own layers once each, or privacy=off",
        )  # fmt: skip
    return [each.grad_sample for _, each in named]


def _with_noise(sum_: torch.Tensor, deviation: float, stream: SecretStream) -> torch.Tensor:
    return sum_ + deviation * stream.normals(sum_.numel()).reshape(sum_.shape).to(sum_.device)


def _step(parameters: list[nn.Parameter], gradients: Sequence[torch.Tensor], rate: float) -> None:
    with torch.no_grad():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.sub_(gradient, alpha=rate)


def positive(name: str, text: str) -> float:
    """Return a decimal string as a number above zero.

    Raises:
        InputError: if it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise InputError(name, expected="a positive number", got=repr(text[:20]))
    return value
