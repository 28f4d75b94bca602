"""One site with everything that a test may look at or take away."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from fedchain.adapters.payloads import PlainWriter
from fedchain.core.eip712 import Domain
from fedchain.core.fixedpoint import FixedPoint
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.core.privacy import micro_epsilon
from fedchain.core.task import LocalTraining, SignedUpdate, Task
from fedchain.core.tensors import encode, model_digest
from fedchain.ports.site_state import SiteState
from fedchain.workflow.site import Site, SiteDataset
from tests.doubles.clock import CountedEntropy, ManualClock
from tests.doubles.power import MortalState, Power
from tests.doubles.signer import NamedSigner
from tests.doubles.site_state import MemorySiteState
from tests.doubles.training import AddingAccountant, NamedTrainer

DOMAIN: Final = Domain(31_337, b"\x02" * 20)
FEDERATION, RUN, DATASET = b"\xfe" * 32, b"\x0a" * 32, b"\xda" * 32
AGGREGATOR: Final = NamedSigner("aggregator")
DEVICE: Final = NamedSigner("site-1")
MODEL: Final = encode(FixedPoint().quantise({"bias": np.array([0.5, -1.0])}))
ROWS: Final = 100
TRAINING: Final = LocalTraining("logistic", {}, 1, 50, "0.1", "4.0", 10_000_000, "1.0", 2, 7)
"""Two rounds of two steps each, at rate 1/2: with a target of 4 each round costs 2."""


@dataclass(slots=True)
class World:
    """A site with all that a test may look at or take away."""

    policy: DataPolicy
    clock: ManualClock = field(default_factory=ManualClock)
    power: Power = field(default_factory=Power)
    state: MemorySiteState = field(default_factory=MemorySiteState)
    trainer: NamedTrainer = field(default_factory=lambda: NamedTrainer("site-1"))
    accountant: AddingAccountant = field(default_factory=AddingAccountant)

    @property
    def site(self) -> Site:
        """The site as it is after its process was started again."""
        state: SiteState = MortalState(self.state, self.power)
        return Site(
            "hospital", DOMAIN, FEDERATION, AGGREGATOR.address,
            SiteDataset(DATASET, self.policy, ROWS, self.trainer), DEVICE, state, self.accountant, self.clock,
            CountedEntropy(str(len(self.trainer.calls)).encode()), PlainWriter(),
        )  # fmt: skip

    def task(self, round_: int = 1, training: LocalTraining = TRAINING, **changes: Any) -> Task:
        task = Task(
            DOMAIN.chain_id, DOMAIN.contract, FEDERATION, RUN, round_, 1, model_digest(MODEL),
            self.clock.now() + 600, 24, 32, b"\xc0" * 32, b"\xcf" * 32, b"\xee" * 32, training,
        )  # fmt: skip
        return replace(task, **changes)

    def contribute(self, round_: int = 1, training: LocalTraining = TRAINING, **changes: Any) -> SignedUpdate:
        return self.site.contribute(self.task(round_, training, **changes), MODEL)


def world(
    kind: GrantKind = GrantKind.LIFETIME,
    *,
    grant: float = 100.0,
    delta_e12: int = 10_000_000,
    unprotected: bool = False,
) -> World:
    return World(DataPolicy("rows", "made up", kind, micro_epsilon(grant), delta_e12, "example", unprotected))
