"""The registry of models of a home: on the embedded chain, named in a file beside it; the operator deploys and relays.

A simulation has two roles of reviewers, both required: clinical and quality, each of another hospital than the one that
submits. In a federation the consortium agrees on roles and quorum before it deploys.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import embedded_node
from fedchain.adapters.evm.models import EvmModelRegistry, check_models, deploy_models
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.adapters.keys import FileSigner
from fedchain.adapters.system import SystemClock
from fedchain.core import document
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.models import ModelRegistry, ReleaseIdentity, ReleaseTerms

ROLES: Final = {1: "clinical", 2: "quality"}
ANSWER_WINDOW_S: Final = 10 * 24 * 3600
"""Time to answer a challenge; the contract wants more than the longest pause, seven days."""


@contextmanager
def read_models(home: Home) -> Iterator[ModelRegistry | None]:
    """Open the home's registry of models for reading; None before the first version.

    Raises:
        InputError: if it is not where the home says.
    """
    identity = _known(home)
    if identity is None:
        yield None
        return
    with closing(read_chain(home.chain, SystemClock(), chain_id=identity.chain_id)) as chain:
        node = embedded_node(chain)
        check_models(node, identity)
        yield EvmModelRegistry(node, identity)


@contextmanager
def written_models(home: Home, ledger: LedgerIdentity, operator: FileSigner) -> Iterator[ModelRegistry]:
    """Open the home's registry of models for writing as the operator; deploy it where it is missing.

    Raises:
        InputError: if there is no chain, or the registry is not where the home says.
    """
    with _written_node(home, ledger.chain_id) as node:
        identity = _known(home)
        if identity is None:
            terms = ReleaseTerms(ledger.rounds_contract, ANSWER_WINDOW_S, len(ROLES), sum(1 << role for role in ROLES))
            identity = deploy_models(node, operator, terms)
            replace_file(_path(home), document.to_bytes(identity))
        check_models(node, identity)
        yield EvmModelRegistry(node, identity, operator)


@contextmanager
def _written_node(home: Home, chain_id: int) -> Iterator[Node]:
    if not home.chain.exists():
        raise InputError(
            "releasing models needs a chain", expected=home.chain, got="no such file", remedy="choose ledger=embedded"
        )
    clock = SystemClock()
    with closing(open_chain(home.chain, Genesis(chain_id, clock.now(), ()), clock)) as chain:
        yield embedded_node(chain)


def _known(home: Home) -> ReleaseIdentity | None:
    path = _path(home)
    with explained(path):
        return document.from_bytes(ReleaseIdentity, path.read_bytes()) if path.exists() else None


def _path(home: Home) -> Path:
    return home.chain.parent / "models.json"
