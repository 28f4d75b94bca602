"""Enrolment: each site registers what is its own, once, whatever interrupted it before."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import InputError
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    KeyPossession,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
)
from fedchain.core.policy import DataPolicy, GrantKind
from fedchain.ports.ledger import RegistryEvent
from fedchain.workflow.enrolment import SOFTWARE_KEY, YEAR_S, Applicant, enrol
from tests.doubles.clock import ManualClock
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.power import PowerCutError
from tests.doubles.signer import NamedSigner
from tests.scenarios.federation import AGGREGATOR, IDENTITY, OPERATOR

POLICY = DataPolicy("rows", "made up", GrantKind.LIFETIME, 8_000_000, 10_000_000, "example", allows_unprotected=False)


def applicant(name: str) -> Applicant:
    return Applicant(
        name, name.encode().ljust(32), NamedSigner(f"{name} admin"), NamedSigner(name),
        f"{name} rows".encode().ljust(32), 100, POLICY,
    )  # fmt: skip


NORTH, SOUTH = applicant("north"), applicant("south")


@dataclass(slots=True)
class World:
    clock: ManualClock
    record: MemoryRecord

    def enrol(self, *applicants: Applicant) -> list[RegistryMessage]:
        """Enrol and return what was added."""
        before = len(self.record.events)
        registry = MemoryRegistry(self.record, OPERATOR.address)
        enrol(MemoryLedger(self.record, bytes(20)), registry, applicants, self.clock.now())
        added = self.record.events[before:]
        return [event.message for event in added if isinstance(event, RegistryEvent)]


@pytest.fixture
def world() -> World:
    clock = ManualClock()
    return World(clock, MemoryRecord(IDENTITY, clock, OPERATOR.address, AGGREGATOR.address))


def test_a_new_site_gets_its_organisation_device_dataset_and_consent(world: World) -> None:
    now = world.clock.now()
    possession = NORTH.device_key.sign(
        signing_digest(IDENTITY.registry, KeyPossession(NORTH.organisation, NORTH.device))
    )
    assert world.enrol(NORTH) == [
        AddOrganisation(NORTH.organisation, NORTH.admin.address, 0),
        RegisterDevice(NORTH.organisation, NORTH.device, now, now + YEAR_S, SOFTWARE_KEY, possession, 1),
        RegisterDataset(NORTH.dataset, NORTH.organisation, 100, 2),
        ConsentGrant(
            NORTH.dataset, IDENTITY.federation, POLICY.digest(), now, now + YEAR_S, 8_000_000, 10_000_000,
            POLICY.unit_digest(), 100, 3,
        ),
    ]  # fmt: skip


def test_enrolling_again_adds_nothing(world: World) -> None:
    world.enrol(NORTH, SOUTH)
    world.clock.forward(3600)
    assert world.enrol(NORTH, SOUTH) == []


def test_a_new_site_joins_those_that_are_there(world: World) -> None:
    world.enrol(NORTH)
    assert len(world.enrol(NORTH, SOUTH)) == 4


@dataclass(slots=True)
class Mortal:
    """A registry that dies before or after its n-th action."""

    registry: MemoryRegistry
    left: int
    is_taken: bool

    def add_organisation(self, organisation: bytes, admin: bytes) -> bytes:
        self._act(before=True)
        transaction = self.registry.add_organisation(organisation, admin)
        self._act(before=False)
        return transaction

    def submit(self, message: RegistryMessage, signature: bytes) -> bytes:
        self._act(before=True)
        transaction = self.registry.submit(message, signature)
        self._act(before=False)
        return transaction

    def nonce(self, organisation: bytes) -> int:
        return self.registry.nonce(organisation)

    def _act(self, *, before: bool) -> None:
        self.left -= before
        if self.left < 0 and before is not self.is_taken:
            raise PowerCutError


@pytest.mark.parametrize("is_taken", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("count", range(8))
def test_enrolling_after_a_crash_between_any_two_actions_adds_only_what_is_missing(
    world: World, count: int, is_taken: bool
) -> None:
    mortal = Mortal(MemoryRegistry(world.record, OPERATOR.address), count, is_taken)
    with pytest.raises(PowerCutError):
        enrol(MemoryLedger(world.record, bytes(20)), mortal, [NORTH, SOUTH], world.clock.now())
    assert len(world.record.events) == count + is_taken
    assert len(world.enrol(NORTH, SOUTH)) == 8 - count - is_taken
    state = world.record.state
    assert set(state.organisations) == {NORTH.organisation, SOUTH.organisation}
    assert set(state.devices) == {NORTH.device, SOUTH.device}
    assert set(state.datasets) == set(state.consents) == {NORTH.dataset, SOUTH.dataset}


def test_a_consent_that_ran_out_is_given_again(world: World) -> None:
    world.enrol(NORTH)
    world.clock.forward(YEAR_S - 1)
    assert world.enrol(NORTH) == []
    world.clock.forward(1)
    (message,) = world.enrol(NORTH)
    assert isinstance(message, ConsentGrant)
    assert message.until == world.clock.now() + YEAR_S


def test_a_site_with_a_new_policy_consents_to_it(world: World) -> None:
    world.enrol(NORTH)
    new = replace(NORTH, policy=replace(POLICY, micro_epsilon_grant=1))
    (message,) = world.enrol(new)
    assert isinstance(message, ConsentGrant)
    assert (message.policy, message.micro_epsilon_grant) == (new.policy.digest(), 1)


@pytest.mark.parametrize("after", [0, 2 * YEAR_S])
def test_a_withdrawn_consent_is_never_given_again_by_enrolling(world: World, after: int) -> None:
    world.enrol(NORTH)
    withdrawal = ConsentWithdraw(NORTH.dataset, world.clock.now(), 1, 4)
    MemoryRegistry(world.record, NORTH.admin.address).submit(withdrawal, b"")
    world.clock.forward(after)
    assert world.enrol(NORTH, replace(NORTH, policy=replace(POLICY, micro_epsilon_grant=1))) == []


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(NORTH, nominal_size=101), "dataset otherwise: expected 101 rows of 0x6e6f.*got 100 rows"),
        (replace(NORTH, admin=SOUTH.admin), "organisation with another admin"),
        (replace(SOUTH, device_key=NORTH.device_key), "south's device under another organisation"),
        (replace(SOUTH, dataset=NORTH.dataset), "south's dataset otherwise"),
    ],
    ids=["another size", "another admin", "a neighbour's device", "a neighbour's dataset"],
)
def test_what_the_registry_holds_otherwise_is_refused_before_anything_of_the_site_is_sent(
    world: World, other: Applicant, told: str
) -> None:
    world.enrol(NORTH)
    before = len(world.record.events)
    with pytest.raises(InputError, match=told):
        world.enrol(other)
    added = [event.message for event in world.record.events[before:] if isinstance(event, RegistryEvent)]
    assert all(isinstance(message, AddOrganisation) for message in added)
