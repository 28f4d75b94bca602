"""Real homes for scenarios: small experiments on the real data, run to their end, and how a home is verified."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import fedchain.wiring.simulation
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.keys import key_path, read_signer
from fedchain.adapters.system import SystemClock
from fedchain.cli.simulation import simulate
from fedchain.config import (
    DataConfig,
    EncryptionConfig,
    ExperimentConfig,
    LedgerConfig,
    ModelConfig,
    PrivacyConfig,
    RewardsConfig,
    SimulationConfig,
    StoreConfig,
    StrategyConfig,
)
from fedchain.core.eip712 import signing_digest
from fedchain.core.lineage import Lineage
from fedchain.core.messages import ConsentWithdraw
from fedchain.core.trust import TrustFile
from fedchain.ports.watcher import Event, Watcher
from fedchain.wiring.parties import parties_of, written_ledger
from fedchain.wiring.record import read_trust, verify
from fedchain.workflow.registry_view import RegistryView

CHAIN_ID = 1337
SMALL = ExperimentConfig(
    experiment="heart",
    seed=1,
    rounds=2,
    data=DataConfig("heart", "flamby", None),
    model=ModelConfig("logistic", 0),
    privacy=PrivacyConfig("off", 8.0, 1e-5, 1.0),
    strategy=StrategyConfig("fedavg", 1, 64, 0.1, 2, 20.0, 1, 600),
    store=StoreConfig("embedded"),
    encryption=EncryptionConfig("on"),
    ledger=LedgerConfig("embedded", CHAIN_ID),
    rewards=RewardsConfig("donated", 1000, "credits", None, 60),
    simulation=SimulationConfig(None),
)
"""Two quick rounds over the four hospitals."""


@dataclass(frozen=True, slots=True)
class Genuine:
    """A home that an honest simulation left behind, and the ids of its runs, oldest first."""

    home: Path
    runs: tuple[bytes, ...]

    @property
    def trust(self) -> TrustFile:
        return read_trust(open_home(self.home).trust)

    def pinned(self, *, run: bytes, since: int = 1) -> set[tuple[str, int]]:
        """The pinned rounds of a run from a round on, as findings name them."""
        return {(pin.run.hex(), pin.round) for pin in self.trust.pins if pin.run == run and pin.round >= since}


def ignore(event: Event) -> None:
    """Watch nothing."""


def run_quietly(config: ExperimentConfig, home: Path, watcher: Watcher = ignore) -> bytes:
    """Run an experiment without tracking, which is a process of its own; return the run's id."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fedchain.wiring.simulation, "tracked", untracked)
        summary = simulate(config, home, watcher, fresh=False)
    return bytes.fromhex(summary.run.removeprefix("0x"))


@contextlib.contextmanager
def untracked(folder: Path, uri: str, warn: Callable[[str], None]) -> Iterator[Watcher]:
    """Stands where MLflow's watcher stands."""
    yield ignore


def withdraw_consent(home: Path, hospital: str, ledger: LedgerConfig = SMALL.ledger) -> None:
    """Have a hospital withdraw its consent on the ledger, with its own key."""
    opened = open_home(home)
    admin = read_signer(key_path(opened.keys, "site", hospital))
    with written_ledger(opened, parties_of(opened), ledger) as record:
        state = RegistryView(record.ledger).current()
        (organisation,) = (each for each, its_admin in state.organisations.items() if its_admin == admin.address)
        (dataset,) = (each for each, its in state.datasets.items() if its.organisation == organisation)
        message = ConsentWithdraw(dataset, SystemClock().now(), 0, record.registry.nonce(organisation))
        record.registry.submit(message, admin.sign(signing_digest(record.ledger.identity().registry, message)))


def check(home: Path, *, trusted: bool, scrub: bool = True) -> Lineage:
    """Verify a home as the command line does; `trusted` means against its own trust file."""
    trust = Home(home).trust if trusted else None
    return verify(home, run=None, heads=(), trust=trust, scrub=scrub)
