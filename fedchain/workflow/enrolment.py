"""Enrolment: each site registers its own device, dataset and consent with its own key; anyone may relay.

Every step looks at the registry first, so enrolling again, or after a crash, adds only what is missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentGrant, KeyPossession, RegisterDataset, RegisterDevice
from fedchain.core.policy import DataPolicy
from fedchain.core.population import RosterOpening
from fedchain.core.registry import Dataset, RegistryState
from fedchain.ports.ledger import Ledger, LedgerIdentity, Registry
from fedchain.ports.signer import Signer
from fedchain.workflow.registry_view import RegistryView

SOFTWARE_KEY: Final = 1
"""Device class of a key in a file; hardware keys have higher classes."""
YEAR_S: Final = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Applicant:
    """A site with the keys and the dataset that it wants to take part with. `dataset` is the salted commitment.

    `roster` opens it where it is a population's.
    """

    name: str
    organisation: bytes
    admin: Signer
    device_key: Signer
    dataset: bytes
    nominal_size: int
    policy: DataPolicy
    roster: RosterOpening | None = None

    @property
    def device(self) -> bytes:
        """The address of the device key."""
        return self.device_key.address


def enrol(ledger: Ledger, registry: Registry, applicants: Sequence[Applicant], now: int) -> None:
    """Bring the registry to hold every applicant's organisation, device, dataset and consent (valid for a year).

    Raises:
        InputError: if the registry holds something else under an applicant's identifiers.
    """
    view, identity = RegistryView(ledger), ledger.identity()
    known = view.current().organisations
    for organisation, admin in {each.organisation: each.admin.address for each in applicants}.items():
        if organisation not in known:
            registry.add_organisation(organisation, admin)
    state = view.current()
    for each in applicants:
        _check(state, each)
    for each in applicants:
        nonce = registry.nonce(each.organisation)
        for index, body in enumerate(_missing(state, each, identity, now)):
            message = replace(body, nonce=nonce + index)
            registry.submit(message, each.admin.sign(signing_digest(identity.registry, message)))


def _missing(
    state: RegistryState, applicant: Applicant, identity: LedgerIdentity, now: int
) -> list[RegisterDevice | RegisterDataset | ConsentGrant]:
    """Return what is not registered yet, with nonces still to be set."""
    missing: list[RegisterDevice | RegisterDataset | ConsentGrant] = []
    organisation, device, dataset = applicant.organisation, applicant.device, applicant.dataset
    if device not in state.devices:
        possession = applicant.device_key.sign(signing_digest(identity.registry, KeyPossession(organisation, device)))
        missing.append(RegisterDevice(organisation, device, now, now + YEAR_S, SOFTWARE_KEY, possession, 0))
    if dataset not in state.datasets:
        missing.append(RegisterDataset(dataset, organisation, applicant.nominal_size, 0))
    if not _is_granted(state, applicant, now):
        missing.append(_grant(identity.federation, applicant, now))
    return missing


def _is_granted(state: RegistryState, applicant: Applicant, now: int) -> bool:
    """Whether consent to this policy stands, or was withdrawn: a withdrawal is the site's will, never granted over."""
    consent = state.consents.get(applicant.dataset)
    if consent is None:
        return False
    stands = consent.grant.until > now and consent.grant.policy == applicant.policy.digest()
    return stands or consent.withdrawn_at is not None


def _grant(federation: bytes, applicant: Applicant, now: int) -> ConsentGrant:
    policy = applicant.policy
    return ConsentGrant(
        dataset=applicant.dataset,
        federation=federation,
        policy=policy.digest(),
        from_=now,
        until=now + YEAR_S,
        micro_epsilon_grant=policy.micro_epsilon_grant,
        delta_e12=policy.delta_e12,
        unit=policy.unit_digest(),
        nominal_size=applicant.nominal_size,
        nonce=0,
    )


def _check(state: RegistryState, applicant: Applicant) -> None:
    """Refuse an applicant under whose identifiers the registry holds something else."""
    if state.organisations[applicant.organisation] != applicant.admin.address:
        raise InputError(
            f"the registry holds {applicant.name}'s organisation with another admin",
            remedy="if a rotation of its key was interrupted, repeat `fedchain registry rotate-admin`",
        )
    device = state.devices.get(applicant.device)
    if device is not None and device.organisation != applicant.organisation:
        raise InputError(f"the registry holds {applicant.name}'s device under another organisation")
    dataset = state.datasets.get(applicant.dataset)
    if dataset is not None and dataset != Dataset(applicant.organisation, applicant.nominal_size):
        raise InputError(
            f"the registry holds {applicant.name}'s dataset otherwise",
            expected=f"{applicant.nominal_size} rows of 0x{applicant.organisation.hex()}",
            got=f"{dataset.nominal_size} rows of 0x{dataset.organisation.hex()}",
        )
