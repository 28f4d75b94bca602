"""The Ledger and Registry ports over the two contracts, on whatever node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fedchain.adapters.evm.events import LINK_TOPICS, REGISTRY, ROUNDS, decode_event
from fedchain.adapters.evm.node import Log, Node
from fedchain.adapters.evm.proof import StorageProof, head_key
from fedchain.adapters.sealed import seal_of
from fedchain.core.digest import hex32
from fedchain.core.eip712 import members
from fedchain.core.errors import InputError, RejectedTransactionError, UnreachableError
from fedchain.core.messages import (
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.core.record import RoundLink
from fedchain.ports.ledger import LedgerEvent, LedgerIdentity, LinkEvent, Seal
from fedchain.ports.signer import Signer

_FUNCTIONS: Final[Mapping[type[RegistryMessage], str]] = {
    RotateAdmin: "rotateAdmin",
    RegisterDevice: "registerDevice",
    RevokeDevice: "revokeDevice",
    RegisterDataset: "registerDataset",
    ConsentGrant: "grantConsent",
    ConsentWithdraw: "withdrawConsent",
}


class EvmLedger:
    """The record on a node. Without an aggregator's key it only reads.

    It seals under the fence that stood when it was made: whoever takes over later stops this one.

    Raises:
        UnreachableError: if there is an aggregator's key and the node does not answer.
    """

    def __init__(self, node: Node, identity: LedgerIdentity, aggregator: Signer | None = None) -> None:
        self._node = node
        self._identity = identity
        self._aggregator = aggregator
        self._fence = 0 if aggregator is None else self._present_fence()

    def identity(self) -> LedgerIdentity:
        """Return chain, contracts and federation."""
        return self._identity

    def events(self) -> Sequence[LedgerEvent]:
        """Return every event of registry and rounds, in ledger order."""
        return self._decoded(self._node.logs([self._identity.registry_contract, self._identity.rounds_contract]))

    def registry_head(self) -> bytes:
        """Return the registry's rolling hash as the contract keeps it."""
        (head,) = self._node.call(self._identity.registry_contract, REGISTRY, "registryHead")
        return bytes(head)

    def head_slot(self, run: bytes) -> bytes:
        """Return the run's storage slot, zero for a run without links."""
        (slot,) = self._node.call(self._identity.rounds_contract, ROUNDS, "headOf", run)
        return bytes(slot)

    def find(self, run: bytes, round_: int) -> LinkEvent | None:
        """Return the link of a round, or None."""
        topics = [LINK_TOPICS, [self._identity.federation], [run], [round_.to_bytes(32)]]
        return self._link(self._node.logs([self._identity.rounds_contract], topics))

    def seal(self, link: RoundLink, previous_hash: bytes) -> Seal:
        """Record a link, once: the seal of a link that is already there is returned as it is.

        Raises:
            RejectedTransactionError: if the contract refuses it, or another link has its place.
            UnreachableError: if the node does not answer.
            InputError: if there is no aggregator's key here.
        """
        found = self.find(link.run, link.round)
        if found is None:
            found = self._send(link, previous_hash)
        return seal_of(found, link, previous_hash)

    def check_lead(self) -> None:
        """Check that this key may seal, under the fence that this ledger has.

        Raises:
            RejectedTransactionError: if it is not the aggregator's, or another one with the same key has taken over.
            UnreachableError: if the node does not answer.
            InputError: if there is no aggregator's key here.
        """
        own = self._key().address
        aggregator, fence, _ = self.lead()
        if aggregator != own:
            raise RejectedTransactionError(
                "this key seals no rounds", expected=f"that of {hex32(aggregator)}", got=hex32(own),
                remedy="`fedchain ledger grant aggregator` names another one",
            )  # fmt: skip
        if fence != self._fence:
            raise self._taken_over("nothing is promised", fence)

    def take_over(self) -> None:
        """Become the one that seals: whatever was opened before with the aggregator's key is refused from now on.

        Raises:
            RejectedTransactionError: if this key is not the aggregator's.
            UnreachableError: if the node does not answer.
            InputError: if there is no aggregator's key here.
        """
        data = ROUNDS.call("takeOver")
        done = self._node.send(self._key(), ROUNDS, data, self._identity.rounds_contract)
        taken = [ROUNDS.events["TakenOver"].decode(log.topics, log.data) for log in done.logs if _is_taking_over(log)]
        if not taken:
            raise UnreachableError("node confirmed a take-over without its event", got=f"0x{done.transaction.hex()}")
        _, (self._fence,) = taken[0]

    def lead(self) -> tuple[bytes, int, int]:
        """Return who may seal, under which fence, and until which second since 1970 it is paused (0 for never)."""
        ((aggregator, fence, paused_until),) = self._node.call(self._identity.rounds_contract, ROUNDS, "lead")
        return bytes.fromhex(aggregator.removeprefix("0x")), int(fence), int(paused_until)

    def head_proof(self, run: bytes) -> StorageProof:
        """Return the proof of a run's slot after the last confirmed block, for `verify_storage_proof`.

        Raises:
            UnreachableError: if the node does not answer, or gives no proofs.
        """
        return self._node.storage_proof(self._identity.rounds_contract, head_key(run))

    def _key(self) -> Signer:
        if self._aggregator is None:
            raise InputError("no key to seal with", expected="the aggregator's", got="none")
        return self._aggregator

    def _send(self, link: RoundLink, previous_hash: bytes) -> LinkEvent:
        content = (
            link.run, link.round, int(link.kind), previous_hash, link.updates_root, link.rejected_root,
            link.base_model, link.model_digest, link.manifest_digest, link.accepted, link.rejected,
        )  # fmt: skip
        data = ROUNDS.call("seal", content, self._fence)
        try:
            done = self._node.send(self._key(), ROUNDS, data, self._identity.rounds_contract)
        except RejectedTransactionError as error:
            # Sent before a crash and confirmed only now: the guard of the contract refused the second one.
            found = self.find(link.run, link.round)
            if found is not None:
                return found
            present = self._present_fence()
            if present == self._fence:
                raise
            raise self._taken_over(f"round {link.round} is not sealed", present) from error
        event = self._link(done.logs)
        if event is None:
            raise UnreachableError("node confirmed a seal without its event", got=f"0x{done.transaction.hex()}")
        return event

    def _taken_over(self, what: str, fence: int) -> RejectedTransactionError:
        return RejectedTransactionError(
            f"{what}: another aggregator with this key has taken over",
            expected=f"fence {self._fence}", got=f"fence {fence}",
            remedy="stop one of the two; a repeated command takes over again",
        )  # fmt: skip

    def _present_fence(self) -> int:
        return self.lead()[1]

    def _link(self, logs: Sequence[Log]) -> LinkEvent | None:
        return next((event for event in self._decoded(logs) if isinstance(event, LinkEvent)), None)

    def _decoded(self, logs: Sequence[Log]) -> list[LedgerEvent]:
        events = (decode_event(log, self._identity) for log in logs)
        return [event for event in events if event is not None]


def _is_taking_over(log: Log) -> bool:
    return log.topics[:1] == (ROUNDS.events["TakenOver"].topic,)


class EvmRegistry:
    """Writing to the registry as one sender, who pays; the authority is in the messages."""

    def __init__(self, node: Node, identity: LedgerIdentity, sender: Signer) -> None:
        self._node = node
        self._contract = identity.registry_contract
        self._sender = sender

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        """As the operator, add an organisation with its admin address; return the transaction hash.

        Raises:
            RejectedTransactionError: if the sender is not the operator, or the organisation exists.
        """
        return self._send("addOrganisation", organisation, admin)

    def submit(self, message: RegistryMessage, signature: bytes) -> bytes:
        """Relay a signed message; an empty signature stands for a sender who is the admin.

        Raises:
            RejectedTransactionError: if the contract refuses it, or it is the operator's own act.
        """
        function = _FUNCTIONS.get(type(message))
        if function is None:
            raise RejectedTransactionError(
                "registry message", expected="one that an admin signs", got=type(message).__name__
            )
        fields = tuple(getattr(message, name) for _, name in members(message.TYPE))
        return self._send(function, fields, signature)

    def nonce(self, organisation: bytes) -> int:
        """Return the next nonce of an organisation, 1 after it was added."""
        ((_, last),) = self._node.call(self._contract, REGISTRY, "organisationOf", organisation)
        return int(last) + 1

    def _send(self, function: str, *arguments: object) -> bytes:
        data = REGISTRY.call(function, *arguments)
        return self._node.send(self._sender, REGISTRY, data, self._contract).transaction
