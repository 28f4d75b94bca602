"""Who is who in a home: keys by role, the ledger and its identity.

In a simulation every party's keys lie under one home, each in its own file; they are labelled simulated wherever they
are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import Terms, check_identity, deploy, embedded_node
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.files import explained, replace_file
from fedchain.adapters.home import Home
from fedchain.adapters.keys import FileSigner, make_signer
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.core import document
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity

_IDENTITY = "ledger.json"


@dataclass(frozen=True, slots=True)
class Parties:
    """The keys of a simulated federation's operators."""

    deployer: FileSigner
    operator: FileSigner
    aggregator: FileSigner


@dataclass(frozen=True, slots=True)
class Record:
    """The ledger for writing: the aggregator seals, the operator relays registry messages."""

    ledger: EvmLedger
    registry: EvmRegistry


def parties_of(home: Home) -> Parties:
    """Return the operators' keys, made at first use."""
    entropy = SystemEntropy()
    return Parties(
        *(make_signer(home.keys, role, "simulated", entropy) for role in ("deployer", "operator", "aggregator"))
    )


@contextmanager
def written_ledger(home: Home, parties: Parties, chain_id: int) -> Iterator[Record]:
    """Open the embedded chain for writing; create it and deploy the contracts where they are missing.

    Raises:
        InputError: if the chain is locked, damaged, or has another chain id.
    """
    clock = SystemClock()
    funded = (parties.deployer.address, parties.operator.address, parties.aggregator.address)
    home.chain.parent.mkdir(mode=0o700, exist_ok=True)
    chain = open_chain(home.chain, Genesis(chain_id, clock.now(), funded), clock)
    try:
        node = embedded_node(chain)
        terms = Terms(
            federation=tagged("federation", chain_id.to_bytes(32), parties.deployer.address),
            operator=parties.operator.address,
            admin=parties.operator.address,
            aggregator=parties.aggregator.address,
        )
        identity = deploy(node, parties.deployer, terms)
        replace_file(home.chain.parent / _IDENTITY, document.to_bytes(identity))
        ledger = EvmLedger(node, identity, parties.aggregator)
        yield Record(ledger, EvmRegistry(node, identity, parties.operator))
    finally:
        chain.close()


@contextmanager
def read_ledger(home: Home) -> Iterator[EvmLedger]:
    """Open the embedded chain for reading, beside a writer or after it.

    Raises:
        InputError: if there is none, or its contracts are not the ones that the home names.
    """
    identity = _read_identity(home.chain.parent / _IDENTITY)
    chain = read_chain(home.chain, SystemClock(), chain_id=identity.chain_id)
    try:
        node = embedded_node(chain)
        check_identity(node, identity)
        yield EvmLedger(node, identity)
    finally:
        chain.close()


def _read_identity(path: Path) -> LedgerIdentity:
    with explained(path):
        if not path.exists():
            raise InputError(
                "this home has no ledger yet", expected=path, got="no such file", remedy="run an experiment"
            )
        return document.from_bytes(LedgerIdentity, path.read_bytes())


def site_names(home: Home) -> Sequence[str]:
    """Return the names of the sites whose state lies in this home."""
    folder = home.root / "sites"
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
