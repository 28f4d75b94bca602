"""What a site may still sign for its entry, whatever was done before: decisions alone, no ledger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedchain.core.errors import InputError
from fedchain.core.messages import ConsentGrant, ConsentWithdraw, RegisterDevice, RevokeDevice, RotateAdmin
from fedchain.core.registry import Consent, Dataset, Device, RegistryState
from fedchain.workflow.administration import (
    NewKey,
    admin_rotation,
    check_admin,
    check_registered,
    device_rotation,
    numbered,
    renewals,
    revocation,
    withdrawals,
)
from fedchain.workflow.enrolment import SOFTWARE_KEY, YEAR_S
from fedchain.workflow.registered import organisations_of
from tests.doubles.clock import ManualClock
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.scenarios.federation import AGGREGATOR, IDENTITY, OPERATOR
from tests.workflow.test_enrolment import NORTH, SOUTH, World

OURS, THEIRS, ADMIN = b"\x01" * 32, b"\x02" * 32, b"\xad" * 20
OLD, NEW = b"\x0d" * 20, NewKey(b"\x0e" * 20, b"possession")
ROWS, MORE_ROWS, FOREIGN_ROWS = b"\xda" * 32, b"\xdb" * 32, b"\xdc" * 32
NOW, UNTIL = 1000, 2000


def consent(dataset: bytes, *, withdrawn_at: int | None = None) -> Consent:
    grant = ConsentGrant(dataset, b"\xfe" * 32, b"\x03" * 32, 500, UNTIL, 8_000_000, 10_000_000, b"\x04" * 32, 100, 3)
    return Consent(grant, withdrawn_at)


@pytest.fixture
def state() -> RegistryState:
    return RegistryState(
        organisations={OURS: ADMIN, THEIRS: b"\xae" * 20},
        devices={OLD: Device(OURS, 500, UNTIL)},
        datasets={ROWS: Dataset(OURS, 100), MORE_ROWS: Dataset(OURS, 100), FOREIGN_ROWS: Dataset(THEIRS, 100)},
        consents={ROWS: consent(ROWS), FOREIGN_ROWS: consent(FOREIGN_ROWS)},
    )


def test_every_consent_that_stands_is_withdrawn_and_no_other_one(state: RegistryState) -> None:
    assert withdrawals(state, OURS, 7, NOW) == [ConsentWithdraw(ROWS, NOW, 7, 0)]
    state.consents[MORE_ROWS] = consent(MORE_ROWS)
    assert [each.dataset for each in withdrawals(state, OURS, 7, NOW) if isinstance(each, ConsentWithdraw)] == [
        ROWS,
        MORE_ROWS,
    ]
    assert withdrawals(state, OURS, 7, NOW, MORE_ROWS) == [ConsentWithdraw(MORE_ROWS, NOW, 7, 0)]
    state.consents[ROWS] = consent(ROWS, withdrawn_at=900)
    assert withdrawals(state, OURS, 7, NOW) == [ConsentWithdraw(MORE_ROWS, NOW, 7, 0)]


def test_a_consent_that_ran_out_can_be_withdrawn_so_that_nobody_renews_it(state: RegistryState) -> None:
    (message,) = withdrawals(state, OURS, 0, UNTIL + 50)
    state.nonces[OURS] = 3
    state.apply(replace(message, nonce=4), UNTIL + 50)
    assert state.consents[ROWS].withdrawn_at == UNTIL + 50


def test_there_is_nothing_to_withdraw_without_a_consent_that_stands(state: RegistryState) -> None:
    with pytest.raises(InputError, match="nothing to withdraw: expected a consent, got none"):
        withdrawals(state, OURS, 0, NOW, MORE_ROWS)
    state.consents[ROWS] = consent(ROWS, withdrawn_at=900)
    with pytest.raises(InputError, match=r"that stands, got withdrawn: 0xdada.* since the second 900"):
        withdrawals(state, OURS, 0, NOW)


def test_a_neighbour_s_dataset_is_refused(state: RegistryState) -> None:
    with pytest.raises(InputError, match="--dataset: expected one of 0xdada"):
        withdrawals(state, OURS, 0, NOW, FOREIGN_ROWS)
    with pytest.raises(InputError, match="--dataset: expected one of 0xdada"):
        renewals(state, OURS, NOW, FOREIGN_ROWS)


@pytest.mark.parametrize("withdrawn_at", [None, 900])
def test_a_renewal_has_the_terms_of_the_last_grant(state: RegistryState, withdrawn_at: int | None) -> None:
    state.consents[ROWS] = consent(ROWS, withdrawn_at=withdrawn_at)
    last = state.consents[ROWS].grant
    assert renewals(state, OURS, NOW) == [replace(last, from_=NOW, until=NOW + YEAR_S, nonce=0)]


def test_a_renewal_needs_one_dataset_that_had_a_grant(state: RegistryState) -> None:
    with pytest.raises(InputError, match="no consent to renew"):
        renewals(state, OURS, NOW, MORE_ROWS)
    state.consents[MORE_ROWS] = consent(MORE_ROWS)
    with pytest.raises(InputError, match="consented for several datasets: expected --dataset"):
        renewals(state, OURS, NOW)
    assert len(renewals(state, OURS, NOW, MORE_ROWS)) == 1


def test_a_device_is_revoked_once(state: RegistryState) -> None:
    assert revocation(state, OLD, NOW) == [RevokeDevice(OLD, NOW, 0)]
    assert revocation(state, OLD, UNTIL + 50) == [RevokeDevice(OLD, UNTIL, 0)]
    state.devices[OLD] = replace(state.devices[OLD], revoked_at=900)
    with pytest.raises(InputError, match=r"revoked already.*since the second 900; `fedchain registry rotate-device`"):
        revocation(state, OLD, NOW)
    with pytest.raises(InputError, match="not on the registry"):
        revocation(state, NEW.address, NOW)


def test_a_device_rotation_is_what_is_missing_of_it(state: RegistryState) -> None:
    register = RegisterDevice(OURS, NEW.address, NOW, NOW + YEAR_S, SOFTWARE_KEY, NEW.possession, 0)
    assert device_rotation(state, OURS, OLD, NEW, NOW) == [RevokeDevice(OLD, NOW, 0), register]
    state.devices[OLD] = replace(state.devices[OLD], revoked_at=900)
    assert device_rotation(state, OURS, OLD, NEW, NOW) == [register]
    state.devices[NEW.address] = Device(OURS, NOW, UNTIL)
    assert device_rotation(state, OURS, OLD, NEW, NOW) == []
    state.devices[NEW.address] = Device(THEIRS, NOW, UNTIL)
    with pytest.raises(InputError, match="another organisation's"):
        device_rotation(state, OURS, OLD, NEW, NOW)


def test_an_admin_rotation_is_sent_once(state: RegistryState) -> None:
    assert admin_rotation(state, OURS, ADMIN, NEW) == [RotateAdmin(OURS, NEW.address, NEW.possession, 0)]
    with pytest.raises(InputError, match="not its admin's on the registry"):
        admin_rotation(state, OURS, OLD, NEW)
    state.organisations[OURS] = NEW.address
    assert admin_rotation(state, OURS, ADMIN, NEW) == []


def test_only_a_registered_organisation_and_its_admin_may_act(state: RegistryState) -> None:
    check_registered(state, OURS)
    check_admin(state, OURS, ADMIN)
    with pytest.raises(InputError, match=r"not on the registry.*run an experiment"):
        check_registered(state, b"\x09" * 32)
    with pytest.raises(InputError, match="repeat `fedchain registry rotate-admin`"):
        check_admin(state, OURS, OLD)


def test_messages_are_numbered_one_after_the_other(state: RegistryState) -> None:
    messages = device_rotation(state, OURS, OLD, NEW, NOW)
    assert [each.nonce for each in numbered(messages, 5)] == [5, 6]


def test_an_entry_is_signed_if_its_last_word_is() -> None:
    clock = ManualClock()
    world = World(clock, MemoryRecord(IDENTITY, clock, OPERATOR.address, AGGREGATOR.address))
    world.enrol(NORTH, SOUTH)
    MemoryRegistry(world.record, NORTH.admin.address).submit(RevokeDevice(NORTH.device, clock.now(), 4), b"")
    head, (north, south) = organisations_of(MemoryLedger(world.record, bytes(20)))
    assert head == world.record.state.head
    assert (north.organisation, north.admin, north.is_signed) == (NORTH.organisation, NORTH.admin.address, False)
    assert [(each.address, each.device_class, each.is_signed) for each in (*north.devices, *south.devices)] == [
        (NORTH.device, SOFTWARE_KEY, False),
        (SOUTH.device, SOFTWARE_KEY, True),
    ]
    (dataset,) = north.datasets
    assert (dataset.nominal_size, dataset.withdrawn_at, dataset.is_signed) == (100, None, True)
