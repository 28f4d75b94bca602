"""What the registry holds, by organisation: replayed from its events, each signature checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedchain.core.messages import AddOrganisation, RegisterDevice, RegistryMessage, RevokeDevice, RotateAdmin
from fedchain.core.registry import Dataset, Device, RegistryState, check_authority
from fedchain.ports.ledger import Ledger, RegistryEvent
from fedchain.workflow.registry_entries import DatasetEntry, DeviceEntry, OrganisationEntry
from fedchain.workflow.registry_view import RegistryView


@dataclass(slots=True)
class _Told:
    """What the events tell beyond the state: whether the last word on an entry is signed, and devices' classes."""

    is_signed: dict[bytes, bool] = field(default_factory=dict[bytes, bool])
    classes: dict[bytes, int] = field(default_factory=dict[bytes, int])


def organisations_of(ledger: Ledger) -> tuple[bytes, tuple[OrganisationEntry, ...]]:
    """Return the registry's head and what it holds, replayed from the events and compared with that head.

    Raises:
        IntegrityError: if the events do not lead to the head, or a signature is not the one that was needed.
    """
    state = RegistryView(ledger).current()
    told = _told(ledger, state.head)
    return state.head, tuple(_organisation(state, told, each) for each in state.organisations)


def _told(ledger: Ledger, head: bytes) -> _Told:
    """Check every signature up to a head."""
    state, told, domain = RegistryState(), _Told(), ledger.identity().registry
    for event in ledger.events():
        if state.head == head:
            break
        if isinstance(event, RegistryEvent):
            is_signed = check_authority(state, domain, event.message, event.signature)
            state.apply(event.message, event.at)
            told.is_signed[_subject(event.message)] = is_signed
            if isinstance(event.message, RegisterDevice):
                told.classes[event.message.device] = event.message.device_class
    return told


def _subject(message: RegistryMessage) -> bytes:
    """Return what a message is the last word on."""
    match message:
        case AddOrganisation() | RotateAdmin():
            return message.organisation
        case RegisterDevice() | RevokeDevice():
            return message.device
        case _:
            return message.dataset


def _organisation(state: RegistryState, told: _Told, organisation: bytes) -> OrganisationEntry:
    devices = {each: device for each, device in state.devices.items() if device.organisation == organisation}
    datasets = {each: dataset for each, dataset in state.datasets.items() if dataset.organisation == organisation}
    return OrganisationEntry(
        organisation,
        state.organisations[organisation],
        told.is_signed[organisation],
        tuple(_device(told, address, device) for address, device in devices.items()),
        tuple(_dataset(state, told, commitment, dataset) for commitment, dataset in datasets.items()),
    )


def _device(told: _Told, address: bytes, device: Device) -> DeviceEntry:
    window = device.valid_from, device.valid_until, device.revoked_at
    return DeviceEntry(address, told.classes[address], *window, told.is_signed[address])


def _dataset(state: RegistryState, told: _Told, commitment: bytes, dataset: Dataset) -> DatasetEntry:
    consent, is_signed = state.consents.get(commitment), told.is_signed[commitment]
    if consent is None:
        return DatasetEntry(commitment, dataset.nominal_size, None, None, is_signed)
    return DatasetEntry(commitment, dataset.nominal_size, consent.grant, consent.withdrawn_at, is_signed)
