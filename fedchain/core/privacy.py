"""Privacy spent: what each release of a dataset cost, composed over rounds and runs.

The mechanism is the Poisson-subsampled Gaussian of DP-SGD (Abadi et al. 2016), at record level unless the unit says
otherwise, with zero-out adjacency: the registered nominal size is public. Epsilon is kept in micro-epsilon, rounded
up; delta in units of 1e-12; the noise multiplier in units of 1e-6. Whether the noise was really drawn is the site's
word ("self-reported").
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from fedchain.core import document
from fedchain.core.digest import ZERO, Digest, tagged
from fedchain.core.messages import UNBOUNDED

MICRO: Final = 10**6
SUBSAMPLED_GAUSSIAN: Final = "poisson-subsampled-gaussian"
NO_MECHANISM: Final = "none"


@dataclass(frozen=True, slots=True)
class Release:
    """`steps` noisy gradient sums, each over a Poisson sample of rate 1 / `batches_per_epoch`.

    `noise_multiplier_e6` = 0 means that no noise was added: the loss is unbounded.
    """

    noise_multiplier_e6: int
    batches_per_epoch: int
    steps: int

    @property
    def is_protected(self) -> bool:
        """Whether noise bounds the loss of this release."""
        return self.noise_multiplier_e6 > 0

    @property
    def noise_multiplier(self) -> float:
        """Standard deviation of the noise over the clipping norm."""
        return self.noise_multiplier_e6 / MICRO

    @property
    def sample_rate(self) -> float:
        """The Poisson sampling rate q."""
        return 1 / self.batches_per_epoch


def merged(releases: Iterable[Release]) -> tuple[Release, ...]:
    """Join releases of equal noise and rate; the composed loss does not depend on their order."""
    steps: dict[tuple[int, int], int] = {}
    for each in releases:
        key = (each.noise_multiplier_e6, each.batches_per_epoch)
        steps[key] = steps.get(key, 0) + each.steps
    return tuple(Release(noise, batches, count) for (noise, batches), count in sorted(steps.items()))


@dataclass(frozen=True, slots=True)
class DpParams:
    """The privacy parameters of one update, as digested into `dpParams`; `run_micro_epsilon` is this run so far.

    `control` is the digest of the server's control that the steps were corrected by, zero for none: it stands here so
    that the client's signature binds it.
    """

    mechanism: str
    noise_multiplier_e6: int
    max_grad_norm_e6: int
    batches_per_epoch: int
    steps: int
    delta_e12: int
    unit: str
    adjacency: str
    accountant: str
    noise_source: str
    run_micro_epsilon: int
    control: bytes = ZERO

    def digest(self) -> Digest:
        """Return the digest that the client signs."""
        return tagged("dp-params", document.to_bytes(self))

    @property
    def release(self) -> Release:
        """The accountable part."""
        return Release(self.noise_multiplier_e6, self.batches_per_epoch, self.steps)


def batches_per_epoch(nominal_size: int, batch_size: int) -> int:
    """Return ceil(n / batch), whose inverse is the sample rate: public, since the nominal size is registered."""
    return -(-nominal_size // batch_size)


def micro_epsilon(epsilon: float) -> int:
    """Return epsilon in 1e-6, rounded up, `UNBOUNDED` for infinity."""
    if math.isinf(epsilon):
        return UNBOUNDED
    return int((Decimal(epsilon) * MICRO).to_integral_value(ROUND_CEILING))


def epsilon_of(micro: int) -> float:
    """Return epsilon from micro-epsilon, infinity for `UNBOUNDED`."""
    return math.inf if micro == UNBOUNDED else micro / MICRO
