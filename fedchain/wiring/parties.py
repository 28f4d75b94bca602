"""Who is who in a home: keys by role, the ledger and its identity.

In a simulation every party's keys lie under one home, each in its own file; they are labelled simulated wherever they
are shown. A home has one ledger, of one kind, from its first run on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import Final

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import Terms, check_identity, deploy, embedded_node
from fedchain.adapters.evm.funding import Payer, check_funds
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain, read_chain
from fedchain.adapters.files import make_folder
from fedchain.adapters.home import Home
from fedchain.adapters.keys import make_signer
from fedchain.adapters.log.entries import terms_of
from fedchain.adapters.log.file import LogReader, LogWriter, create_log
from fedchain.adapters.log.ledger import LogLedger, LogRegistry
from fedchain.adapters.log.state import CHAIN_ID as NO_CHAIN
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.config import LedgerConfig
from fedchain.core.digest import tagged
from fedchain.core.errors import InputError
from fedchain.ports.ledger import Ledger, LedgerIdentity, Registry
from fedchain.ports.signer import Signer
from fedchain.wiring.ledger_mark import Kind, check_kind, mark_of, note_ledger, required_mark
from fedchain.wiring.nodes import node_config, read_node, written_node
from fedchain.wiring.signers import ROLES, external_signers

DEPLOYMENT_GAS: Final = 6_000_000
_ENROLMENT_GAS: Final = 2_000_000
_SEALING_GAS: Final = 300_000


@dataclass(frozen=True, slots=True)
class Parties:
    """The keys of a simulated federation's operators."""

    deployer: Signer
    operator: Signer
    aggregator: Signer

    def addresses(self) -> tuple[bytes, ...]:
        """Return the addresses of all."""
        return self.deployer.address, self.operator.address, self.aggregator.address


@dataclass(frozen=True, slots=True)
class Record:
    """The ledger for writing: the aggregator seals, the operator relays registry messages."""

    ledger: Ledger
    registry: Registry
    settle: Callable[[], None]
    """Returns when all that was sent stands on the ledger; what fell out is sent again."""


def parties_of(home: Home) -> Parties:
    """Return the operators' keys: those that the home says lie elsewhere, else files of the home, made at first use.

    Raises:
        InputError: if a key cannot be read or made.
    """
    elsewhere, entropy = external_signers(home), SystemEntropy()
    return Parties(*(elsewhere.get(role) or make_signer(home.keys, role, "simulated", entropy) for role in ROLES))


@contextmanager
def written_ledger(home: Home, parties: Parties, config: LedgerConfig) -> Iterator[Record]:
    """Open the home's ledger for writing; create it where there is none, contracts included.

    Raises:
        InputError: if the home has a ledger of another kind or chain, or it is locked or damaged.
    """
    check_kind(home, config.name)
    with _written(home, parties, config) as record:
        note_ledger(home, config.name, record.ledger.identity())
        yield record


@contextmanager
def read_ledger(home: Home) -> Iterator[Ledger]:
    """Open the home's ledger for reading, beside a writer or after it.

    Raises:
        InputError: if there is none, or it is not the one that the home names.
        IntegrityError: if it is damaged.
    """
    mark = required_mark(home)
    reading = {"embedded": _read_chain, "log": _read_log, "rpc": _read_rpc}[mark.kind]
    with reading(home, mark.identity) as ledger:
        yield ledger


def kind_of(home: Home) -> Kind:
    """Return the kind of the home's ledger.

    Raises:
        InputError: if there is none.
    """
    return required_mark(home).kind


def config_of(home: Home) -> LedgerConfig:
    """Return the configuration with which the home's ledger is opened again.

    Raises:
        InputError: if there is none.
    """
    mark = required_mark(home)
    return LedgerConfig(mark.kind, mark.identity.chain_id, node_config(home) if mark.kind == "rpc" else None)


def _written(home: Home, parties: Parties, config: LedgerConfig) -> AbstractContextManager[Record]:
    match config.name:
        case "embedded":
            return _written_chain(home, parties, config.chain_id)
        case "log":
            return _written_log(home, parties)
        case "rpc":
            return _written_rpc(home, parties, config)


@contextmanager
def _written_chain(home: Home, parties: Parties, chain_id: int) -> Iterator[Record]:
    clock = SystemClock()
    make_folder(home.chain.parent)
    with closing(open_chain(home.chain, Genesis(chain_id, clock.now(), parties.addresses()), clock)) as chain:
        node = embedded_node(chain)
        identity = deploy(node, parties.deployer, federation_terms(chain_id, parties))
        ledger, registry = EvmLedger(node, identity, parties.aggregator), EvmRegistry(node, identity, parties.operator)
        yield Record(ledger, registry, nothing_is_left)


@contextmanager
def _read_chain(home: Home, identity: LedgerIdentity) -> Iterator[Ledger]:
    with closing(read_chain(home.chain, SystemClock(), chain_id=identity.chain_id)) as chain:
        node = embedded_node(chain)
        check_identity(node, identity)
        yield EvmLedger(node, identity)


@contextmanager
def _written_log(home: Home, parties: Parties) -> Iterator[Record]:
    clock, key = SystemClock(), make_signer(home.keys, "log", "simulated", SystemEntropy())
    terms = terms_of(_federation(NO_CHAIN, key), parties.operator.address, parties.aggregator.address)
    create_log(home.log, key, clock, terms)
    with closing(LogWriter(home.log, key, clock)) as log:
        ledger, registry = LogLedger(log, (log, parties.aggregator)), LogRegistry(log, parties.operator)
        yield Record(ledger, registry, nothing_is_left)


@contextmanager
def _read_log(home: Home, identity: LedgerIdentity) -> Iterator[Ledger]:
    ledger = LogLedger(LogReader(home.log, identity.rounds_contract))
    if ledger.identity() != identity:
        raise InputError(
            "the log is not the one that the home names", remedy="restore the log, or the home's ledger.json"
        )
    yield ledger


@contextmanager
def _written_rpc(home: Home, parties: Parties, config: LedgerConfig) -> Iterator[Record]:
    if config.node is None:
        raise InputError("ledger.node", expected="its keys for rpc", got="null", remedy="choose ledger=rpc")
    senders = (parties.deployer, parties.operator, parties.aggregator)  # each rests on what the one before it sent
    with written_node(home, config.chain_id, config.node) as node:
        node.settle(senders)
        identity = _deployed(home, node, parties)
        ledger, registry = EvmLedger(node, identity, parties.aggregator), EvmRegistry(node, identity, parties.operator)
        ledger.take_over()
        yield Record(ledger, registry, lambda: node.settle(senders))


def _deployed(home: Home, node: Node, parties: Parties) -> LedgerIdentity:
    """Return the contracts that the home names, or put them on the chain where it names none yet."""
    mark = mark_of(home)
    payers = [
        Payer("operator", parties.operator.address, _ENROLMENT_GAS if mark is None else _SEALING_GAS),
        Payer("aggregator", parties.aggregator.address, _SEALING_GAS),
    ]
    if mark is not None:
        check_identity(node, mark.identity)
        check_funds(node, payers)
        return mark.identity
    if node.nonce(parties.deployer.address) < 2:
        payers.insert(0, Payer("deployer", parties.deployer.address, DEPLOYMENT_GAS))
    check_funds(node, payers)
    return deploy(node, parties.deployer, federation_terms(node.chain_id(), parties))


@contextmanager
def _read_rpc(home: Home, identity: LedgerIdentity) -> Iterator[Ledger]:
    node = read_node(home)
    check_identity(node, identity)
    yield EvmLedger(node, identity)


def nothing_is_left() -> None:
    """What this ledger has acknowledged does not fall out of it."""


def federation_terms(chain_id: int, parties: Parties) -> Terms:
    """Return whom the contracts of a home serve."""
    return Terms(
        federation=_federation(chain_id, parties.deployer),
        operator=parties.operator.address,
        admin=parties.operator.address,
        aggregator=parties.aggregator.address,
    )


def _federation(chain_id: int, founder: Signer) -> bytes:
    return tagged("federation", chain_id.to_bytes(32), founder.address)


def site_names(home: Home) -> Sequence[str]:
    """Return the names of the sites whose state lies in this home."""
    folder = home.root / "sites"
    return sorted(each.name for each in folder.iterdir()) if folder.is_dir() else []
