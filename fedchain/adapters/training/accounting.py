"""The accountant: what a history of Gaussian steps costs, as an upper bound of epsilon at one delta.

PRV (Gopi, Lee and Wutschitz, NeurIPS 2021), by Opacus' parts: each distinct mechanism's privacy loss is put on one
grid, composed with itself by FFT and with the others by convolution. Its upper bound exceeds the tight value by about
`EPSILON_ERROR`. The grid grows with the loss and with the square root of the steps; where it would pass `MAX_POINTS`
or the loss 700, or delta is below `MIN_PRV_DELTA`, the answer is the Renyi bound (RDP; Mironov, Talwar and Zhang
2019), which is valid, some 10% higher, and reported as "rdp". Gaussian DP's central limit under-reports: never used.

Renyi divergences are Opacus', at 60 orders instead of its 150: any set of orders gives a valid bound, and the others
cost more than PRV itself.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import optimize
from scipy.fft import next_fast_len

from fedchain.adapters.training.opacus_parts import (
    DiscretePRV,
    Domain,
    PoissonSubsampledGaussianPRV,
    TruncatedPrivacyRandomVariable,
    compose_heterogeneous,
    compute_rdp,
    discretize,
)
from fedchain.core.errors import InputError
from fedchain.core.privacy import MICRO, Release, merged
from fedchain.ports.training import Spent

PRV: Final = "prv"
RDP: Final = "rdp"
EPSILON_ERROR: Final = 0.01
MAX_POINTS: Final = 1 << 22
"""Grid points times mechanisms that PRV may take: some three seconds."""

MIN_NOISE_E6: Final = 300_000
MAX_NOISE_E6: Final = 10**12
MAX_STEPS: Final = 10**6

MIN_PRV_DELTA: Final = 1e-10
"""Below this delta the FFT's rounding shows in the tail that PRV reads."""

_MAX_LOSS: Final = 700.0
"""Beyond this loss exp() of the grid overflows float64."""

_WHOLE_ORDERS: Final = (*map(float, range(2, 33)), 36.0, 40.0, 48.0, 64.0, 96.0, 128.0, 192.0, 256.0, 384.0, 512.0)
_FRACTIONAL_ORDERS: Final = (1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.2, 2.4, 2.6, 2.8, 3.3, 3.7, 4.5, 5.5)

_REMEMBERED: Final = 1 << 12
_ONE_AT_A_TIME: Final = threading.Lock()
"""Sites on several threads ask the same questions: whoever waits finds the answer."""

Merged: TypeAlias = tuple[Release, ...]


@dataclass(frozen=True, slots=True)
class PrvAccountant:
    """Composes releases; both methods are pure and remember what they computed."""

    def spent(self, releases: Sequence[Release], delta: float) -> Spent:
        """Return an upper bound of epsilon at `delta`; infinity if a release is unprotected, 0 for none.

        Raises:
            InputError: outside 0 < delta < 1, sigma >= 0.3, rate in (0, 1], at most 1e6 steps in all.
        """
        _check_delta(delta)
        history = merged(each for each in releases if each.steps != 0)
        for each in history:
            if each.noise_multiplier_e6 != 0:
                _check(each)
        if not all(each.is_protected for each in history):
            return Spent(math.inf, PRV)
        if sum(each.steps for each in history) > MAX_STEPS:
            raise InputError("releases", expected=f"at most {MAX_STEPS} steps in all", got="more")
        with _ONE_AT_A_TIME:
            return _spent(history, delta) if history else Spent(0.0, PRV)

    def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
        """Return the least noise multiplier (1e-6, rounded up) whose `steps` steps stay within epsilon.

        It is `MIN_NOISE_E6` where that is enough already. What it returns is within epsilon by `spent` itself.

        Raises:
            InputError: if a parameter is out of range, or no noise multiplier up to 1e6 is enough.
        """
        _check_delta(delta)
        if not EPSILON_ERROR < epsilon < math.inf:
            raise InputError(
                "privacy.epsilon", expected=f"a number above {EPSILON_ERROR}, the accountant's error", got=epsilon
            )
        _check(Release(MIN_NOISE_E6, batches_per_epoch, steps))
        with _ONE_AT_A_TIME:
            return _calibrate(epsilon, delta, batches_per_epoch, steps)


def _check_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise InputError("privacy.delta", expected="a number between 0 and 1", got=delta)


def _check(release: Release) -> None:
    if not MIN_NOISE_E6 <= release.noise_multiplier_e6 <= MAX_NOISE_E6:
        raise InputError(
            "noise multiplier", expected=f"{MIN_NOISE_E6 / MICRO}..{MAX_NOISE_E6 // MICRO}",
            got=release.noise_multiplier, remedy="choose a smaller epsilon, larger batches or more steps",
        )  # fmt: skip
    if release.batches_per_epoch < 1:
        raise InputError("sample rate", expected="1 / batches with at least 1 batch", got=release.batches_per_epoch)
    if not 1 <= release.steps <= MAX_STEPS:
        raise InputError("steps", expected=f"1..{MAX_STEPS}", got=release.steps)


@functools.lru_cache(_REMEMBERED)
def _spent(history: Merged, delta: float) -> Spent:
    # Opacus divides by zero on purpose (the logarithm of 0 at rate 1); its guards against it come after.
    with np.errstate(all="ignore"):
        prv = _prv(history, delta)
        return Spent(_rdp(history, delta, is_final=True), RDP) if prv is None else Spent(prv, PRV)


def _prv(history: Merged, delta: float) -> float | None:
    """Return the PRV upper bound, or None where the grid would be too large or too coarse."""
    delta_error = delta / 1000
    domain = _domain(history, delta_error) if delta >= MIN_PRV_DELTA else None
    if domain is None:
        return None
    try:
        parts = [_discretised(each, domain) for each in history]
        composed: DiscretePRV = compose_heterogeneous(parts, [each.steps for each in history])
        _, _, upper = composed.compute_epsilon(delta, delta_error, EPSILON_ERROR)
    except (ValueError, RuntimeError):  # Opacus: float64 does not resolve delta or the means on this grid
        return None
    return max(0.0, float(upper)) if math.isfinite(upper) else None


def _discretised(release: Release, domain: Domain) -> DiscretePRV:
    loss = PoissonSubsampledGaussianPRV(release.sample_rate, release.noise_multiplier)
    return discretize(TruncatedPrivacyRandomVariable(loss, domain.t_min, domain.t_max), domain)


def _domain(history: Merged, delta_error: float) -> Domain | None:
    """Return the grid of Gopi et al., remark 5.6 with Opacus' margin of 3, or None if it would be too large."""
    steps = sum(each.steps for each in history)
    loss = _rdp(history, delta_error / 4)
    for each in history:
        once = Release(each.noise_multiplier_e6, each.batches_per_epoch, 1)
        loss = max(loss, _rdp((once,), delta_error / (8 * steps)))
    reach = max(loss, EPSILON_ERROR) + 3
    mesh = EPSILON_ERROR / math.sqrt(steps * math.log(12 / delta_error) / 2)
    if not reach < _MAX_LOSS or 2 * reach / mesh * len(history) > MAX_POINTS:
        return None
    # Opacus lays 2k + 2 points for a reach of k meshes; a size with small prime factors makes the FFT fast.
    half = next_fast_len(math.ceil(reach / mesh) + 1) - 1
    return Domain.create_aligned(-(half - 0.5) * mesh, (half - 0.5) * mesh, mesh)


def _rdp(history: Merged, delta: float, *, is_final: bool = False) -> float:
    """Return a Renyi bound of epsilon at `delta`, by theorem 21 of Balle et al. (AISTATS 2020).

    Fractional orders, which are slow, are tried beside the best whole one: for a final answer, or where order 2 is best
    and the bound may be far off.
    """
    epsilon, order = _best(history, delta, _WHOLE_ORDERS)
    if is_final or order == _WHOLE_ORDERS[0]:
        beside = tuple(each for each in _FRACTIONAL_ORDERS if abs(each - order) < 1)
        epsilon = min([epsilon, *(_best(history, delta, beside)[:1] if beside else ())])
    return max(0.0, epsilon)


def _best(history: Merged, delta: float, orders: tuple[float, ...]) -> tuple[float, float]:
    alpha = np.array(orders)
    curve = sum(each.steps * _renyi(each.noise_multiplier, each.sample_rate, orders) for each in history)
    epsilons = curve - (math.log(delta) + np.log(alpha)) / (alpha - 1) + np.log1p(-1 / alpha)
    best = int(np.nanargmin(epsilons))
    return float(epsilons[best]), orders[best]


@functools.lru_cache(_REMEMBERED)
def _renyi(noise_multiplier: float, sample_rate: float, orders: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """Return one step's Renyi divergences at the orders."""
    curve: npt.NDArray[np.float64] = compute_rdp(
        q=sample_rate, noise_multiplier=noise_multiplier, steps=1, orders=list(orders)
    )
    return curve


@functools.lru_cache(_REMEMBERED)
def _calibrate(epsilon: float, delta: float, batches: int, steps: int) -> int:
    def excess(noise_e6: float) -> float:
        return _spent(_run(noise_e6, batches, steps), delta).epsilon - epsilon

    if excess(MIN_NOISE_E6) <= 0:
        return MIN_NOISE_E6
    # RDP is cheap and lands some 10% above; PRV then needs a few evaluations between there and just below.
    high = _enough_by_rdp(epsilon, delta, batches, steps)
    while excess(high) > 0:
        high *= 2
    low = max(MIN_NOISE_E6, math.floor(0.85 * high))
    while excess(low) <= 0:
        low, high = max(MIN_NOISE_E6, math.floor(0.85 * low)), low
    root: float = optimize.brentq(excess, low, high, xtol=0.5, rtol=1e-9)
    noise, stride = math.ceil(root), 1
    while excess(noise) > 0:  # the grid's own noise, some 1e-7 in epsilon
        noise, stride = noise + stride, 2 * stride
    return noise


def _enough_by_rdp(epsilon: float, delta: float, batches: int, steps: int) -> int:
    """Return a noise multiplier (1e-6), at most 1% above the least whose Renyi bound is within epsilon."""
    low, high = MIN_NOISE_E6, MIN_NOISE_E6
    while _rdp(_run(high, batches, steps), delta) > epsilon and high < MAX_NOISE_E6:
        low, high = high, 2 * high
    while high > 1.01 * low:
        middle = math.ceil(math.sqrt(low * high))
        if _rdp(_run(middle, batches, steps), delta) > epsilon:
            low = middle
        else:
            high = middle
    return high


def _run(noise_e6: float, batches: int, steps: int) -> Merged:
    return (Release(round(noise_e6), batches, steps),)
