"""The registry of models of a home: on its chain, named in a file beside it; the operator deploys and relays.

A simulation has two roles of reviewers, both required: clinical and quality, each of another hospital than the one that
submits. In a federation the consortium agrees on roles and quorum before it deploys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.funding import Payer, check_funds
from fedchain.adapters.evm.models import EvmModelRegistry, check_models, deploy_models
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.core import document
from fedchain.ports.clock import Clock
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.models import ModelRegistry, ReleaseIdentity, ReleaseTerms
from fedchain.ports.signer import Signer
from fedchain.wiring.home_chain import clock_of, read_home_chain, written_home_chain

ROLES: Final = {1: "clinical", 2: "quality"}
ANSWER_WINDOW_S: Final = 10 * 24 * 3600
"""Time to answer a challenge; the contract wants more than the longest pause, seven days."""
NEEDS: Final = "releasing models"
_DEPLOYMENT_GAS: Final = 9_000_000


@dataclass(frozen=True, slots=True)
class OpenModels:
    """A registry of models, and the clock that its chain goes by."""

    registry: ModelRegistry
    clock: Clock


@contextmanager
def read_models(home: Home) -> Iterator[OpenModels | None]:
    """Open the home's registry of models for reading; None before the first version.

    Raises:
        InputError: if it is not where the home says.
    """
    identity = _known(home)
    if identity is None:
        yield None
        return
    with read_home_chain(home, identity.chain_id) as node:
        check_models(node, identity)
        yield OpenModels(EvmModelRegistry(node, identity), clock_of(home, node))


@contextmanager
def written_models(home: Home, ledger: LedgerIdentity, operator: Signer) -> Iterator[OpenModels]:
    """Open the home's registry of models for writing as the operator; deploy it where it is missing.

    Raises:
        InputError: if there is no chain, or the registry is not where the home says.
    """
    with written_home_chain(home, ledger.chain_id, NEEDS) as node:
        identity = _known(home)
        if identity is None:
            terms = ReleaseTerms(ledger.rounds_contract, ANSWER_WINDOW_S, len(ROLES), sum(1 << role for role in ROLES))
            check_funds(node, [Payer("operator", operator.address, _DEPLOYMENT_GAS)])
            identity = deploy_models(node, operator, terms)
            replace_file(_path(home), document.to_bytes(identity))
        check_models(node, identity)
        yield OpenModels(EvmModelRegistry(node, identity, operator), clock_of(home, node))


def _known(home: Home) -> ReleaseIdentity | None:
    path = _path(home)
    with explained(path):
        return document.from_bytes(ReleaseIdentity, path.read_bytes()) if path.exists() else None


def _path(home: Home) -> Path:
    return home.chain.parent / "models.json"
