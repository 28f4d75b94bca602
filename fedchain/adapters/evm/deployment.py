"""Putting the two contracts on a chain, and making sure that they are the ones that were meant.

The contracts are the first two transactions of a deployer's key of their own, so their addresses are known in advance:
a deployment that was interrupted is finished by the same call, and one that is complete is found.
"""

from __future__ import annotations

from dataclasses import dataclass

from web3 import HTTPProvider, Web3

from fedchain.adapters.evm.chain import EmbeddedChain
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.events import REGISTRY, ROUNDS
from fedchain.adapters.evm.intents import intents_in_memory
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.provider import EmbeddedProvider
from fedchain.adapters.evm.sending import Rules, Sender
from fedchain.core.errors import FormatError, InputError, RejectedTransactionError
from fedchain.core.signatures import checksum_address
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.signer import Signer


@dataclass(frozen=True, slots=True)
class Terms:
    """Whom the contracts serve: the federation's id, and the addresses of its operator, admin and aggregator."""

    federation: bytes
    operator: bytes
    admin: bytes
    aggregator: bytes


def embedded_node(chain: EmbeddedChain) -> Node:
    """Return the node of a chain in this process; processes that write the same file send one after the other."""
    web3 = Web3(EmbeddedProvider(chain))
    return Node(web3, sender=Sender(web3, Rules(), intents=intents_in_memory(chain.sending_lock)))


def remote_node(url: str, *, timeout_s: float = 10.0) -> Node:
    """Return the node behind a JSON-RPC address; each request waits `timeout_s` at most."""
    return Node(Web3(HTTPProvider(url, request_kwargs={"timeout": timeout_s}, exception_retry_configuration=None)))


def places(deployer: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return the names of the contracts and the addresses that they have when this key deploys them."""
    return tuple((name, contract_address(deployer, nonce)) for nonce, name in enumerate(("FedRegistry", "RoundLedger")))


def deploy(node: Node, deployer: Signer, terms: Terms) -> LedgerIdentity:
    """Deploy what is not there yet and return the ledger's identity.

    Raises:
        InputError: if this deployer's key has deployed something else before.
        RejectedTransactionError: if a creation fails.
        UnreachableError: if the node does not answer.
    """
    registry, rounds = (address for _, address in places(deployer.address))
    sent = node.nonce(deployer.address)
    if sent < 1:
        node.send(deployer, REGISTRY, REGISTRY.creation(terms.federation, terms.operator), None)
    if sent < 2:
        people = terms.admin, terms.aggregator, terms.admin  # the admin is the guardian, until it names another one
        node.send(deployer, ROUNDS, ROUNDS.creation(registry, terms.federation, *people, bytes(20)), None)
    identity = LedgerIdentity(node.chain_id(), registry, rounds, terms.federation)
    check_identity(node, identity)
    return identity


def check_identity(node: Node, identity: LedgerIdentity) -> None:
    """Check that the node serves this chain, and that these contracts serve this federation.

    Raises:
        InputError: if it does not, saying what it serves instead.
    """
    _require("foreign chain id", identity.chain_id, node.chain_id())
    for address in (identity.registry_contract, identity.rounds_contract):
        if not node.code(address):
            raise InputError(f"no contract at {checksum_address(address)}", remedy="check the address and the node")
    try:
        registry_serves = node.call(identity.registry_contract, REGISTRY, "federation")[0]
        rounds_serve = node.call(identity.rounds_contract, ROUNDS, "federation")[0]
        registry_of_rounds = node.call(identity.rounds_contract, ROUNDS, "registry")[0]
    except (FormatError, RejectedTransactionError) as error:
        raise InputError("not the contracts of a federation", got=error, remedy="check the addresses") from error
    federation = "0x" + identity.federation.hex()
    _require("registry of another federation", federation, "0x" + registry_serves.hex())
    _require("ledger of another federation", federation, "0x" + rounds_serve.hex())
    _require("ledger of another registry", "0x" + identity.registry_contract.hex(), registry_of_rounds.lower())


def _require(what: str, expected: object, got: object) -> None:
    if expected != got:
        raise InputError(what, expected=expected, got=got, remedy="check the node's address and the home directory")
