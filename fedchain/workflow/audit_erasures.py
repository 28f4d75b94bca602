"""Deletion receipts in an audit: a payload that is gone is anchored if its site says, signed, that it erased it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedchain.core.eip712 import signing_digest
from fedchain.core.erasure import DeletionReceipt, SignedDeletion
from fedchain.core.errors import FormatError
from fedchain.core.messages import ClientUpdate
from fedchain.core.registry import RegistryState
from fedchain.core.signatures import recover
from fedchain.ports.ledger import LedgerIdentity


@dataclass(frozen=True, slots=True)
class Deletions:
    """The receipts that a verifier was given; what is not signed by the update's own site is not believed."""

    identity: LedgerIdentity
    given: Sequence[SignedDeletion]

    def cover(self, message: ClientUpdate, client: bytes, registry: RegistryState) -> bool:
        """Tell whether the site of an update signed that it erased the payload; `client` signed the update."""
        return any(self._is_of(each, message, client, registry) for each in self.given)

    def _is_of(self, deletion: SignedDeletion, message: ClientUpdate, client: bytes, registry: RegistryState) -> bool:
        receipt = deletion.receipt
        about = (self.identity.federation, message.run, message.round, message.payload_cid)
        if (receipt.federation, receipt.run, receipt.round, receipt.payload_cid) != about:
            return False
        device, own = registry.devices.get(deletion.signer), registry.devices.get(client)
        if device is None or own is None or device.organisation != own.organisation:
            return False
        return self._signer(receipt, deletion.signature) == deletion.signer

    def _signer(self, receipt: DeletionReceipt, signature: bytes) -> bytes | None:
        try:
            return recover(signing_digest(self.identity.rounds, receipt), signature)
        except (FormatError, ValueError, TypeError):
            return None
