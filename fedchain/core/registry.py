"""The registry's state, replayed from its events: organisations, devices, datasets, consents, and the rolling head.

The rules are those of `contracts/src/FedRegistry.sol`, so a replay finds what the contract would have refused.
Revocations and withdrawals remember when they were recorded: an update that was closed into a round before is not
undone by them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from fedchain.core.digest import ZERO, Digest
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
)
from fedchain.core.record import next_registry_head
from fedchain.core.signatures import recover

NEVER: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Device:
    """A device key: its organisation, its window [valid_from, valid_until), and its revocation if there is one."""

    organisation: bytes
    valid_from: int
    valid_until: int
    revoked_at: int = NEVER
    revocation_recorded: int = NEVER


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its organisation and its registered nominal size (rows)."""

    organisation: bytes
    nominal_size: int


@dataclass(frozen=True, slots=True)
class Consent:
    """The newest grant for a dataset and its withdrawal if there is one."""

    grant: ConsentGrant
    withdrawn_at: int = NEVER
    withdrawal_recorded: int = NEVER


@dataclass(slots=True)
class RegistryState:
    """What the registry holds after the events applied so far."""

    head: Digest = ZERO
    organisations: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    devices: dict[bytes, Device] = field(default_factory=dict[bytes, Device])
    datasets: dict[bytes, Dataset] = field(default_factory=dict[bytes, Dataset])
    consents: dict[bytes, Consent] = field(default_factory=dict[bytes, Consent])

    def apply(self, message: RegistryMessage, at: int) -> None:
        """Apply an action recorded at block time `at` (seconds).

        Raises:
            IntegrityError: if the contract's rules would have refused it.
        """
        match message:
            case AddOrganisation():
                _require(message.organisation not in self.organisations, "organisation is added once", message)
                self.organisations[message.organisation] = message.admin
            case RegisterDevice():
                _require(message.device not in self.devices, "device key is registered once", message)
                _require(message.organisation in self.organisations, "organisation is known", message)
                self.devices[message.device] = Device(message.organisation, message.valid_from, message.valid_until)
            case RevokeDevice():
                device = self.devices.get(message.device)
                _require(device is not None and device.revoked_at == NEVER, "device is live", message)
                if device is not None:
                    self.devices[message.device] = replace(device, revoked_at=message.at, revocation_recorded=at)
            case RegisterDataset():
                _require(message.dataset not in self.datasets, "dataset is registered once", message)
                self.datasets[message.dataset] = Dataset(message.organisation, message.nominal_size)
            case ConsentGrant():
                dataset = self.datasets.get(message.dataset)
                _require(
                    dataset is not None and dataset.nominal_size == message.nominal_size,
                    "grant is for a registered dataset of this size",
                    message,
                )
                self.consents[message.dataset] = Consent(message)
            case ConsentWithdraw():
                consent = self.consents.get(message.dataset)
                _require(consent is not None, "a grant exists", message)
                if consent is not None:
                    self.consents[message.dataset] = replace(consent, withdrawn_at=message.at, withdrawal_recorded=at)
        self.head = next_registry_head(self.head, message, at)

    def authority(self, message: RegistryMessage) -> bytes | None:
        """Return the admin address that must have authorised the message; None for the operator's own act."""
        match message:
            case AddOrganisation():
                return None
            case RegisterDevice() | RegisterDataset():
                return self.organisations.get(message.organisation)
            case RevokeDevice():
                return self.organisations.get(self.devices[message.device].organisation)
            case ConsentGrant() | ConsentWithdraw():
                return self.organisations.get(self.datasets[message.dataset].organisation)

    def is_device_valid(self, address: bytes, *, at: int, as_of: int) -> bool:
        """Tell whether a key may sign for a deadline `at`, given what was recorded up to `as_of` (seconds)."""
        device = self.devices.get(address)
        if device is None or not device.valid_from <= at < device.valid_until:
            return False
        return device.revocation_recorded > as_of or at < device.revoked_at

    def consent(self, dataset: bytes, *, at: int, as_of: int) -> ConsentGrant | None:
        """Return the consent that covers a deadline `at`, given what was recorded up to `as_of`, or None."""
        consent = self.consents.get(dataset)
        if consent is None or not consent.grant.from_ <= at < consent.grant.until:
            return None
        if consent.withdrawal_recorded <= as_of and at >= consent.withdrawn_at:
            return None
        return consent.grant


def check_authority(state: RegistryState, domain: Domain, message: RegistryMessage, signature: bytes) -> bool:
    """Tell whether the message bears the signature of the admin who is entitled to it.

    An action without a signature was sent by the admin directly: then only the chain's word stands (returns False).

    Raises:
        IntegrityError: if a signature is there and is not the admin's.
    """
    admin = state.authority(message)
    if admin is None or not signature:
        return False
    try:
        signer = recover(signing_digest(domain, message), signature)
    except FormatError as error:
        raise IntegrityError(
            "registry signature", expected=f"a signature of 0x{admin.hex()}", got=str(error)
        ) from error
    if signer != admin:
        raise IntegrityError("registry signature", expected=f"0x{admin.hex()}", got=f"0x{signer.hex()}")
    return True


def _require(holds: bool, rule: str, message: RegistryMessage) -> None:
    if not holds:
        raise IntegrityError(f"registry action {type(message).__name__}", expected=rule, got="the contrary")
