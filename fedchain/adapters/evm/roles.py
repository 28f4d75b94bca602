"""The Roles port over the registry's AccessControl and the rounds' owner, aggregator and guardian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fedchain.adapters.evm.events import REGISTRY, ROUNDS
from fedchain.adapters.evm.node import Node
from fedchain.core.digest import ZERO
from fedchain.core.errors import InputError
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.roles import Role
from fedchain.ports.signer import Signer

_NOBODY: Final = bytes(20)
_GRANTED, _REVOKED = (REGISTRY.events[name].topic for name in ("RoleGranted", "RoleRevoked"))


class EvmRoles:
    """The roles on a node, as one sender. Without a key it only reads."""

    def __init__(self, node: Node, identity: LedgerIdentity, sender: Signer | None = None) -> None:
        self._node = node
        self._identity = identity
        self._sender = sender

    def identity(self) -> LedgerIdentity:
        """Return chain, contracts and federation."""
        return self._identity

    def sender(self) -> bytes:
        """Return the address that writes.

        Raises:
            InputError: if there is no key here.
        """
        return self._key().address

    def time(self) -> int:
        """Return the time of the newest block, in seconds since 1970."""
        return self._node.time()

    def holders(self, role: Role) -> Sequence[bytes]:
        """Return who holds a role, in the order in which they got it."""
        match role:
            case Role.OPERATOR | Role.REGISTRY_ADMIN:
                return self._members(self._registry_role(role))
            case Role.AGGREGATOR:
                ((aggregator, _, _),) = self._node.call(self._identity.rounds_contract, ROUNDS, "lead")
                return [_address(aggregator)]
            case Role.GUARDIAN | Role.ROUNDS_ADMIN:
                holder = self._named("guardian" if role is Role.GUARDIAN else "owner")
                return [] if holder == _NOBODY else [holder]

    def successor(self) -> bytes | None:
        """Return who was offered the administration of the rounds and has not taken it, or None."""
        pending = self._named("pendingOwner")
        return None if pending == _NOBODY else pending

    def pausable_from(self) -> int:
        """Return from which second since 1970 on sealing may be paused again."""
        return int(self._node.call(self._identity.rounds_contract, ROUNDS, "nextPause")[0])

    def grant(self, role: Role, address: bytes) -> bytes:
        """Give a role, or take the one that was offered; return the transaction hash."""
        match role:
            case Role.OPERATOR | Role.REGISTRY_ADMIN:
                return self._send_to_registry("grantRole", self._registry_role(role), address)
            case Role.AGGREGATOR:
                return self._send_to_rounds("setAggregator", address)
            case Role.GUARDIAN:
                return self._send_to_rounds("setGuardian", address)
            case Role.ROUNDS_ADMIN if address == self.sender() == self.successor():
                return self._send_to_rounds("acceptOwnership")
            case Role.ROUNDS_ADMIN:
                return self._send_to_rounds("transferOwnership", address)

    def revoke(self, role: Role, address: bytes) -> bytes:
        """Take a role away, or an offer back; return the transaction hash."""
        match role:
            case Role.OPERATOR | Role.REGISTRY_ADMIN:
                return self._send_to_registry("revokeRole", self._registry_role(role), address)
            case Role.AGGREGATOR:
                return self._send_to_rounds("setAggregator", self.sender())
            case Role.GUARDIAN:
                return self._send_to_rounds("setGuardian", _NOBODY)
            case Role.ROUNDS_ADMIN:
                return self._send_to_rounds("transferOwnership", _NOBODY)

    def pause(self, until: int) -> bytes:
        """As the guardian, have nothing sealed before a second since 1970; return the transaction hash."""
        return self._send_to_rounds("pause", until)

    def _registry_role(self, role: Role) -> bytes:
        if role is Role.REGISTRY_ADMIN:
            return ZERO  # AccessControl's DEFAULT_ADMIN_ROLE
        return bytes(self._node.call(self._identity.registry_contract, REGISTRY, "OPERATOR_ROLE")[0])

    def _members(self, role: bytes) -> list[bytes]:
        members: dict[bytes, None] = {}
        for log in self._node.logs([self._identity.registry_contract], [[_GRANTED, _REVOKED], [role]]):
            account = log.topics[2][12:]
            if log.topics[0] == _GRANTED:
                members[account] = None
            else:
                members.pop(account, None)
        return list(members)

    def _named(self, function: str) -> bytes:
        return _address(self._node.call(self._identity.rounds_contract, ROUNDS, function)[0])

    def _send_to_registry(self, function: str, *arguments: object) -> bytes:
        data, contract = REGISTRY.call(function, *arguments), self._identity.registry_contract
        return self._node.send(self._key(), REGISTRY, data, contract).transaction

    def _send_to_rounds(self, function: str, *arguments: object) -> bytes:
        data, contract = ROUNDS.call(function, *arguments), self._identity.rounds_contract
        return self._node.send(self._key(), ROUNDS, data, contract).transaction

    def _key(self) -> Signer:
        if self._sender is None:
            raise InputError("no key to change roles with", expected="an administrator's", got="none")
        return self._sender


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
