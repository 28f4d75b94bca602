"""The registry's state, replayed from its events: organisations, devices, datasets, consents, and the rolling head.

The rules are those of `contracts/src/FedRegistry.sol`, so a replay finds what the contract would have refused.
What counts for a round is the state that its decision saw: the round's manifest names that head.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

from fedchain.core.digest import ZERO, Digest
from fedchain.core.eip712 import Domain, TypedMessage, signing_digest
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    KeyPossession,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.core.record import next_registry_head
from fedchain.core.signatures import recover

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Device:
    """A device key: its organisation, its window [valid_from, valid_until), and its revocation if there is one.

    A revocation holds from `revoked_at` on, never before the second in which it was recorded.
    """

    organisation: bytes
    valid_from: int
    valid_until: int
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """A dataset: its organisation and its registered nominal size (rows)."""

    organisation: bytes
    nominal_size: int


@dataclass(frozen=True, slots=True)
class Consent:
    """The newest grant for a dataset and its withdrawal if there is one."""

    grant: ConsentGrant
    withdrawn_at: int | None = None


@dataclass(slots=True)
class RegistryState:
    """What the registry holds after the events applied so far; `nonces` are the last ones that organisations used."""

    head: Digest = ZERO
    organisations: dict[bytes, bytes] = field(default_factory=dict[bytes, bytes])
    nonces: dict[bytes, int] = field(default_factory=dict[bytes, int])
    devices: dict[bytes, Device] = field(default_factory=dict[bytes, Device])
    datasets: dict[bytes, Dataset] = field(default_factory=dict[bytes, Dataset])
    consents: dict[bytes, Consent] = field(default_factory=dict[bytes, Consent])

    def apply(self, message: RegistryMessage, at: int) -> None:
        """Apply an action recorded at block time `at` (seconds), or change nothing.

        The contract also refuses grants for another federation, which this state does not know.

        Raises:
            IntegrityError: if the contract's rules would have refused it.
        """
        organisation = self._organisation(message)
        last = self.nonces.get(organisation, -1)  # an unknown organisation's first message is its own addition
        _require(message.nonce == last + 1, f"nonce {last + 1}", message)
        match message:
            case AddOrganisation():
                _require(any(organisation) and any(message.admin), "organisation and admin are not zero", message)
                self.organisations[organisation] = message.admin
            case RotateAdmin():
                _require(any(message.admin), "admin is not zero", message)
                self.organisations[organisation] = message.admin
            case RegisterDevice():
                self._register_device(message)
            case RevokeDevice():
                self._revoke_device(message, at)
            case RegisterDataset():
                self._register_dataset(message)
            case ConsentGrant():
                self._grant(message)
            case ConsentWithdraw():
                self._withdraw(message, at)
        self.nonces[organisation] = message.nonce
        self.head = next_registry_head(self.head, message, at)

    def authority(self, message: RegistryMessage) -> bytes | None:
        """Return the admin address that must have authorised the message; None for the operator's own act.

        Raises:
            IntegrityError: if the message is about something that the registry does not hold.
        """
        return None if isinstance(message, AddOrganisation) else self.organisations[self._organisation(message)]

    def _organisation(self, message: RegistryMessage) -> bytes:
        """Return whose action it is."""
        match message:
            case AddOrganisation():
                _require(message.organisation not in self.organisations, "organisation is added once", message)
                return message.organisation
            case RotateAdmin() | RegisterDevice() | RegisterDataset():
                _require(message.organisation in self.organisations, "organisation is known", message)
                return message.organisation
            case RevokeDevice():
                return _known(self.devices.get(message.device), "device is known", message).organisation
            case ConsentGrant() | ConsentWithdraw():
                return _known(self.datasets.get(message.dataset), "dataset is known", message).organisation

    def _register_device(self, message: RegisterDevice) -> None:
        _require(any(message.device), "device is not zero", message)
        _require(message.device not in self.devices, "device key is registered once", message)
        _require(message.valid_from < message.valid_until, "window is not empty", message)
        self.devices[message.device] = Device(message.organisation, message.valid_from, message.valid_until)

    def _revoke_device(self, message: RevokeDevice, at: int) -> None:
        device = self.devices[message.device]
        _require(device.revoked_at is None, "device is revoked once", message)
        _require(message.at <= device.valid_until, "revocation starts within the window", message)
        self.devices[message.device] = replace(device, revoked_at=max(message.at, at))

    def _register_dataset(self, message: RegisterDataset) -> None:
        _require(any(message.dataset) and message.nominal_size > 0, "dataset and size are not zero", message)
        _require(message.dataset not in self.datasets, "dataset is registered once", message)
        self.datasets[message.dataset] = Dataset(message.organisation, message.nominal_size)

    def _grant(self, message: ConsentGrant) -> None:
        size = self.datasets[message.dataset].nominal_size
        _require(message.nominal_size == size, "grant is for the registered size", message)
        _require(message.from_ < message.until, "window is not empty", message)
        self.consents[message.dataset] = Consent(message)

    def _withdraw(self, message: ConsentWithdraw, at: int) -> None:
        consent = _known(self.consents.get(message.dataset), "a grant exists", message)
        _require(consent.withdrawn_at is None, "grant is withdrawn once", message)
        _require(message.at <= consent.grant.until, "withdrawal starts within the window", message)
        self.consents[message.dataset] = replace(consent, withdrawn_at=max(message.at, at))

    def is_device_valid(self, address: bytes, *, at: int) -> bool:
        """Tell whether a key may sign for a deadline `at` (seconds)."""
        device = self.devices.get(address)
        return device is not None and _spans(device.valid_from, device.valid_until, device.revoked_at, at)

    def consent(self, dataset: bytes, *, at: int) -> ConsentGrant | None:
        """Return the consent that covers a deadline `at` (seconds), or None."""
        consent = self.consents.get(dataset)
        if consent is None or not _spans(consent.grant.from_, consent.grant.until, consent.withdrawn_at, at):
            return None
        return consent.grant


def check_authority(state: RegistryState, domain: Domain, message: RegistryMessage, signature: bytes) -> bool:
    """Tell whether the message bears the signature of the admin who is entitled to it.

    An action without a signature was sent by the admin directly: then only the chain's word stands (returns False).

    Raises:
        IntegrityError: if a signature is there and is not the admin's, a new key does not say itself that it belongs to
            the organisation, or the message is about something unknown.
    """
    admin = state.authority(message)
    match message:
        case RotateAdmin():
            _check_signer(domain, KeyPossession(message.organisation, message.admin), message.possession, message.admin)
        case RegisterDevice(device=device):
            _check_signer(domain, KeyPossession(message.organisation, device), message.possession, device)
        case _:
            pass
    if admin is None or not signature:
        return False
    _check_signer(domain, message, signature, admin)
    return True


def _check_signer(domain: Domain, message: TypedMessage, signature: bytes, expected: bytes) -> None:
    try:
        signer = recover(signing_digest(domain, message), signature)
    except FormatError as error:
        raise IntegrityError(
            "registry signature", expected=f"a signature of 0x{expected.hex()}", got=str(error)
        ) from error
    if signer != expected:
        raise IntegrityError("registry signature", expected=f"0x{expected.hex()}", got=f"0x{signer.hex()}")


def _spans(first: int, end: int, ended: int | None, at: int) -> bool:
    """Tell whether a second lies in the window [first, end), cut short from `ended` on."""
    return first <= at < (end if ended is None else min(end, ended))


def _require(holds: bool, rule: str, message: RegistryMessage) -> None:
    if not holds:
        raise IntegrityError(f"registry action {type(message).__name__}", expected=rule, got="the contrary")


def _known(found: T | None, rule: str, message: RegistryMessage) -> T:
    if found is None:
        raise IntegrityError(f"registry action {type(message).__name__}", expected=rule, got="the contrary")
    return found
