"""Local training and privacy accounting, as a site sees them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fedchain.core.privacy import Release
from fedchain.core.task import LocalTraining
from fedchain.core.tensors import FloatTensors, IntTensors


@dataclass(frozen=True, slots=True)
class LocalRound:
    """One site's part in one round. `release.noise_multiplier_e6` = 0: train without privacy.

    `correction` by tensor name is added to every gradient, after clipping and noise; None: nothing is. `clients` are
    those of a population who train, None where a site trains on its own rows.
    """

    training: LocalTraining
    release: Release
    round: int
    nominal_size: int
    correction: FloatTensors | None = field(default=None, compare=False)
    clients: tuple[int, ...] | None = None


class Trainer(Protocol):
    """A site's rows behind one function."""

    def train(self, base: FloatTensors, local: LocalRound) -> FloatTensors:
        """Return the update (trained minus base), float64 by tensor name; of a population one a client, stacked.

        With privacy: DP-SGD with Poisson sampling, clipping and noise from a cryptographic stream keyed anew by the
        operating system on each call; the noisy sum is divided by the public nominal batch. Without: shuffled batches
        from the seed, round and dataset, so that equal inputs give equal bytes on one machine.

        Raises:
            InputError: if the model cannot be built or does not match `base`.
        """
        ...


class Members(Protocol):
    """Where the clients of a population stand in the roster that its policy names."""

    def openings(self, clients: Sequence[int]) -> IntTensors:
        """Return the tensors that say who these clients are; see `fedchain.core.population`."""
        ...


class Engine(Protocol):
    """The rows of many clients behind one function: how a simulation trains a whole round.

    A site of a federation has a `Trainer` and no engine. Charges come first here, too: a `LocalRound` carries a
    release that is durable already.
    """

    def train(self, base: FloatTensors, rounds: Mapping[str, LocalRound]) -> Mapping[str, FloatTensors]:
        """Return each named client's update (trained minus base), float64 by tensor name.

        Each is what the client's `Trainer` returns, up to the rounding of sums in another order; with privacy the
        noise of each client comes from a cryptographic stream of its own. Equal inputs give equal bytes on one machine
        where there is no privacy.

        Raises:
            InputError: if a client is unknown, trainings differ, or a `Trainer` would refuse.
        """
        ...


@dataclass(frozen=True, slots=True)
class Spent:
    """A composed loss with the accountant that bounded it ("prv", or "rdp" where PRV is too costly)."""

    epsilon: float
    accountant: str


class Accountant(Protocol):
    """Composes releases; both methods are pure functions of their arguments."""

    def spent(self, releases: Sequence[Release], delta: float) -> Spent:
        """Return an upper bound of epsilon at `delta`; infinity if a release is unprotected, 0 for none."""
        ...

    def calibrate(self, *, epsilon: float, delta: float, batches_per_epoch: int, steps: int) -> int:
        """Return the least noise multiplier (in 1e-6, rounded up) whose `steps` steps stay within epsilon.

        Raises:
            InputError: if the parameters are outside epsilon > 0, 0 < delta < 1, sigma >= 0.3, 1 <= steps <= 1e6.
        """
        ...
