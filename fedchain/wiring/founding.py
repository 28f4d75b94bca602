"""Putting a federation's contracts on the chain that a configuration names: once, whatever is interrupted.

Registry and rounds are the first two transactions of the deployer's key, so where they will lie is known before. The
vault of the rewards is one of the operator's; it is found again by its terms.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedchain.adapters.evm.chain import Genesis
from fedchain.adapters.evm.deployment import check_identity, deploy, embedded_node, places
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.funding import Payer, check_funds
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.opening import open_chain
from fedchain.adapters.evm.vault import find_vault
from fedchain.adapters.files import make_folder
from fedchain.adapters.home import Home, create_home, locked
from fedchain.adapters.system import SystemClock
from fedchain.config import ExperimentConfig, LedgerConfig
from fedchain.core.digest import hex32
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.rewards import VaultTerms
from fedchain.wiring.ledger_mark import check_kind, mark_of, note_ledger
from fedchain.wiring.nodes import written_node
from fedchain.wiring.parties import DEPLOYMENT_GAS, Parties, federation_terms, parties_of
from fedchain.wiring.vault import ensure_vault, known_vault, terms_of
from fedchain.workflow.founding import Announce, Creation, Founded, Founding

_VAULT_GAS: Final = 2_500_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a contract of this home lies, or will lie; `creation` is what is told before, None if it is there."""

    contract: str
    address: bytes
    creation: Creation | None


def found(home: Path, config: ExperimentConfig, announce: Announce) -> Founding:
    """Deploy what is not there yet: registry, rounds, and where the configuration pays rewards, their vault.

    Raises:
        InputError: if the home has another ledger, the ledger is no chain, or a key cannot pay for gas.
        UnreachableError: if no endpoint answers, or a transaction is not confirmed in time.
    """
    opened = create_home(home)
    with locked(opened):
        check_kind(opened, config.ledger.name)
        parties = parties_of(opened)
        with _chain(opened, config.ledger, parties) as node:
            node.settle((parties.deployer, parties.operator))
            identity = _identity(opened, node, parties)
            terms = None if config.rewards.mode == "off" else terms_of(config.rewards, identity, parties)
            places_ = [*_contracts(opened, node, parties, identity), *_vault(opened, node, parties, terms)]
            creations = [each.creation for each in places_ if each.creation is not None]
            if creations:
                _check_funds(node, creations)
                announce(creations)
            _deploy(opened, node, parties, config)
        if terms is not None:
            ensure_vault(opened, identity.chain_id, terms, parties.operator)
        contracts = tuple(Founded(each.contract, each.address, each.creation is not None) for each in places_)
        return Founding(identity.chain_id, identity.federation, contracts)


@contextmanager
def _chain(home: Home, config: LedgerConfig, parties: Parties) -> Iterator[Node]:
    if config.name == "log":
        raise InputError(
            "contracts need a chain", expected="ledger=embedded or ledger=rpc", got="ledger=log",
            remedy="choose one, in a new home",
        )  # fmt: skip
    if config.node is not None:
        with written_node(home, config.chain_id, config.node) as node:
            yield node
        return
    clock = SystemClock()
    make_folder(home.chain.parent)
    with closing(open_chain(home.chain, Genesis(config.chain_id, clock.now(), parties.addresses()), clock)) as chain:
        yield embedded_node(chain)


def _identity(home: Home, node: Node, parties: Parties) -> LedgerIdentity:
    """Return the home's ledger, also where it is not on its chain yet."""
    mark = mark_of(home)
    if mark is not None:
        check_identity(node, mark.identity)
        return mark.identity
    (_, registry), (_, rounds) = places(parties.deployer.address)
    chain_id = node.chain_id()
    return LedgerIdentity(chain_id, registry, rounds, federation_terms(chain_id, parties).federation)


def _contracts(home: Home, node: Node, parties: Parties, identity: LedgerIdentity) -> list[_Place]:
    operator, aggregator = parties.operator.address, parties.aggregator.address
    keys = (
        (("adds organisations, gives and takes the roles of the registry", operator),),
        (("names aggregator and guardian, may pause sealing", operator), ("seals rounds", aggregator)),
    )
    if mark_of(home) is not None:
        return [
            _Place("FedRegistry", identity.registry_contract, None),
            _Place("RoundLedger", identity.rounds_contract, None),
        ]
    sent, deployer = node.nonce(parties.deployer.address), parties.deployer.address
    return [
        _Place(
            name, address,
            Creation(name, address, "deployer", deployer, identity.chain_id, keys[nonce]) if nonce >= sent else None,
        )
        for nonce, (name, address) in enumerate(places(deployer))
    ]  # fmt: skip


def _vault(home: Home, node: Node, parties: Parties, terms: VaultTerms | None) -> list[_Place]:
    if terms is None:
        return []
    operator = parties.operator.address
    there = known_vault(home) or find_vault(node, operator, terms)
    if there is not None:
        return [_Place("RewardVault", there.contract, None)]
    address = contract_address(operator, node.nonce(operator))
    asset = f"in {terms.asset_kind.name.lower()}" + (f" of {hex32(terms.asset)}" if any(terms.asset) else "")
    keys = (("proposes what is paid", terms.distributor), ("may dispute a proposal", terms.guardian))
    note = f"it pays {asset}, {terms.dispute_window_s} s after a proposal at the earliest"
    return [
        _Place(
            "RewardVault", address,
            Creation("RewardVault", address, "operator", operator, node.chain_id(), keys, note),
        )
    ]  # fmt: skip


def _check_funds(node: Node, creations: list[Creation]) -> None:
    gas = {"deployer": DEPLOYMENT_GAS, "operator": _VAULT_GAS}
    check_funds(
        node, [Payer(role, key, gas[role]) for role, key in {each.role: each.deployer for each in creations}.items()]
    )


def _deploy(home: Home, node: Node, parties: Parties, config: ExperimentConfig) -> None:
    if mark_of(home) is None:
        identity = deploy(node, parties.deployer, federation_terms(node.chain_id(), parties))
        note_ledger(home, config.ledger.name, identity)
