"""The RewardVault port over its contract, and putting that contract on a chain.

A vault is deployed by the federation's operator, among other transactions of its key, so its address is looked for
among the contracts that this key has created: a deployment that was interrupted is found and not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fedchain.adapters.evm.abi import Contract, contract
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.node import Log, Node
from fedchain.core.digest import ZERO
from fedchain.core.errors import FormatError, InputError, RejectedTransactionError
from fedchain.core.signatures import checksum_address
from fedchain.ports.rewards import AssetKind, Proposal, VaultIdentity, VaultTerms
from fedchain.ports.signer import Signer

VAULT: Final[Contract] = contract("RewardVault")
_TOKEN: Final = Contract(
    bytecode=b"",
    constructor=(),
    functions={"balanceOf": ("address",), "allowance": ("address", "address"), "approve": ("address", "uint256")},
    outputs={"balanceOf": ("uint256",), "allowance": ("uint256",)},
    events={},
    errors={},
)
"""What of ERC-20 a funder needs; some tokens return nothing from approve."""
_PROPOSED: Final = VAULT.events["Proposed"]


class EvmRewardVault:
    """A vault on a node, as one sender. Without a key it only reads."""

    def __init__(self, node: Node, identity: VaultIdentity, sender: Signer | None = None) -> None:
        self._node = node
        self._identity = identity
        self._sender = sender

    def identity(self) -> VaultIdentity:
        """Return chain, address and terms."""
        return self._identity

    def time(self) -> int:
        """Return the time of the newest block, in seconds since 1970."""
        return self._node.time()

    def root(self) -> bytes:
        """Return the root that pays, zero before the first."""
        (root,) = self._node.call(self._identity.contract, VAULT, "root")
        return bytes(root)

    def total(self) -> int:
        """Return the sum of the leaves under the root that pays."""
        return self._number("total")

    def funded(self) -> int:
        """Return all that was ever put into the vault."""
        return self._number("funded")

    def pending(self) -> Proposal | None:
        """Return the root that waits for the end of its window, or None."""
        root, total, claimable_at = self._node.call(self._identity.contract, VAULT, "pending")
        if root == ZERO:
            return None
        known = [each for each in self.proposals() if (each.root, each.claimable_at) == (root, claimable_at)]
        return known[-1] if known else Proposal(root, total, ZERO, claimable_at)

    def proposals(self) -> Sequence[Proposal]:
        """Return every root that was ever proposed, oldest first."""
        return [_proposal(log) for log in self._node.logs([self._identity.contract], [[_PROPOSED.topic]])]

    def claimed(self, account: bytes) -> int:
        """Return all that an account was paid."""
        return self._number("claimed", account)

    def purse(self) -> int:
        """Return what the sender holds of what the vault pays in.

        Raises:
            FormatError: if the token is no ERC-20 contract.
        """
        sender, terms = self._key().address, self._identity.terms
        match terms.asset_kind:
            case AssetKind.CREDITS:
                return 0
            case AssetKind.NATIVE:
                return self._node.balance(sender)
            case AssetKind.ERC20:
                return int(self._node.call(terms.asset, _TOKEN, "balanceOf", sender)[0])

    def allowed(self) -> int:
        """Return how much the vault may take of the sender's tokens."""
        terms, addresses = self._identity.terms, (self._key().address, self._identity.contract)
        if terms.asset_kind is not AssetKind.ERC20:
            return 0
        return int(self._node.call(terms.asset, _TOKEN, "allowance", *addresses)[0])

    def allow(self, amount: int) -> bytes:
        """Let the vault take so many of the sender's tokens; return the transaction hash."""
        data, token = _TOKEN.call("approve", self._identity.contract, amount), self._identity.terms.asset
        return self._node.send(self._key(), _TOKEN, data, token).transaction

    def fund(self, amount: int) -> bytes:
        """Put coins or allowed tokens into the vault; return the transaction hash."""
        coins = amount if self._identity.terms.asset_kind is AssetKind.NATIVE else 0
        data, vault = VAULT.call("fund", amount), self._identity.contract
        return self._node.send(self._key(), VAULT, data, vault, coins).transaction

    def propose(self, root: bytes, total: int, report: bytes) -> bytes:
        """Put up a root, as the distributor; return the transaction hash."""
        return self._send("propose", root, total, report)

    def dispute(self, root: bytes) -> bytes:
        """Cancel the pending root within its window, as the guardian; return the transaction hash."""
        return self._send("dispute", root)

    def finalize(self) -> bytes:
        """Make the pending root the one that pays, after its window; return the transaction hash."""
        return self._send("finalize")

    def claim(self, account: bytes, cumulative: int, proof: Sequence[bytes]) -> bytes:
        """Pay an account what it has earned and not claimed; return the transaction hash."""
        return self._send("claim", account, cumulative, list(proof))

    def _number(self, function: str, *arguments: object) -> int:
        (number,) = self._node.call(self._identity.contract, VAULT, function, *arguments)
        return int(number)

    def _send(self, function: str, *arguments: object) -> bytes:
        data = VAULT.call(function, *arguments)
        return self._node.send(self._key(), VAULT, data, self._identity.contract).transaction

    def _key(self) -> Signer:
        if self._sender is None:
            raise InputError("no key to send with", expected="a sender's", got="none")
        return self._sender


def find_vault(node: Node, deployer: bytes, terms: VaultTerms) -> VaultIdentity | None:
    """Return the vault with these terms that a key has deployed, or None.

    Raises:
        UnreachableError: if the node does not answer.
    """
    for nonce in range(node.nonce(deployer)):
        found = VaultIdentity(node.chain_id(), contract_address(deployer, nonce), terms)
        if node.code(found.contract) and _terms_at(node, found.contract) == terms:
            return found
    return None


def deploy_vault(node: Node, deployer: Signer, terms: VaultTerms) -> VaultIdentity:
    """Return the vault with these terms that this key has deployed, or deploy it.

    Raises:
        RejectedTransactionError: if the contract refuses the terms.
        UnreachableError: if the node does not answer.
    """
    found = find_vault(node, deployer.address, terms)
    if found is not None:
        return found
    address = contract_address(deployer.address, node.nonce(deployer.address))
    creation = VAULT.creation(
        terms.distributor, terms.guardian, terms.federation, terms.asset, int(terms.asset_kind), terms.dispute_window_s
    )
    node.send(deployer, VAULT, creation, None)
    identity = VaultIdentity(node.chain_id(), address, terms)
    check_vault(node, identity)
    return identity


def check_vault(node: Node, identity: VaultIdentity) -> None:
    """Check that a vault with these very terms is where it is said to be.

    Raises:
        InputError: if another contract is there, or none.
    """
    if node.chain_id() != identity.chain_id:
        raise InputError("foreign chain id", expected=identity.chain_id, got=node.chain_id(), remedy="check the node")
    found = _terms_at(node, identity.contract) if node.code(identity.contract) else None
    if found != identity.terms:
        raise InputError(
            f"no vault of this federation at {checksum_address(identity.contract)}",
            expected=identity.terms, got=found, remedy="check the node's address and the home directory",
        )  # fmt: skip


def _terms_at(node: Node, address: bytes) -> VaultTerms | None:
    """Return the terms of a vault, None where the contract is no vault."""
    names = ("federation", "distributor", "guardian", "asset", "assetKind", "disputeWindow")
    try:
        values = [node.call(address, VAULT, name)[0] for name in names]
        federation, distributor, guardian, asset, kind, window = values
        return VaultTerms(
            federation, _address(distributor), _address(guardian), _address(asset), AssetKind(kind), window
        )
    except (FormatError, RejectedTransactionError, ValueError):
        return None


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))


def _proposal(log: Log) -> Proposal:
    (root, report), (total, claimable_at) = _PROPOSED.decode(log.topics, log.data)
    return Proposal(root, total, report, claimable_at)
