from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedchain.core.digest import ZERO
from fedchain.core.eip712 import Domain, signing_digest
from fedchain.core.errors import IntegrityError
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
from fedchain.core.registry import RegistryState, check_authority
from tests.core.samples import FEW
from tests.doubles.signer import NamedSigner

NOW = 1_800_000_000
DOMAIN = Domain(31337, b"\x0c" * 20)
ADMIN, OTHER = NamedSigner("admin"), NamedSigner("other admin")
SITE, OTHER_SITE = b"\x01" * 32, b"\x02" * 32
DEVICE_KEY, DATASET = NamedSigner("device"), b"\x04" * 32
DEVICE = DEVICE_KEY.address
POSSESSION = DEVICE_KEY.sign(signing_digest(DOMAIN, KeyPossession(SITE, DEVICE)))
ADD = AddOrganisation(SITE, ADMIN.address, 0)
ADD_OTHER = AddOrganisation(OTHER_SITE, OTHER.address, 0)
REGISTER = RegisterDevice(SITE, DEVICE, NOW, NOW + 1000, 1, POSSESSION, 1)
DATA = RegisterDataset(DATASET, SITE, 303, 2)
GRANT = ConsentGrant(DATASET, b"\x05" * 32, b"\x06" * 32, NOW, NOW + 1000, 8_000_000, 10**7, b"\x07" * 32, 303, 3)
REVOKE = RevokeDevice(DEVICE, NOW + 500, 4)
WITHDRAW = ConsentWithdraw(DATASET, NOW + 500, 1, 4)
ENROLMENT: tuple[RegistryMessage, ...] = (ADD, ADD_OTHER, REGISTER, DATA, GRANT)


def enrolled(*more: RegistryMessage, at: int = NOW) -> RegistryState:
    state = RegistryState()
    for message in (*ENROLMENT, *more):
        state.apply(message, at)
    return state


def test_a_site_brings_its_device_dataset_and_consent() -> None:
    state = enrolled()
    assert state.organisations == {SITE: ADMIN.address, OTHER_SITE: OTHER.address}
    assert state.nonces == {SITE: 3, OTHER_SITE: 0}
    assert state.devices[DEVICE].organisation == SITE
    assert (state.datasets[DATASET].organisation, state.datasets[DATASET].nominal_size) == (SITE, 303)
    assert state.consent(DATASET, at=NOW) == GRANT


def test_the_head_rolls_over_every_action_with_its_time() -> None:
    head = ZERO
    state = RegistryState()
    for number, message in enumerate(ENROLMENT):
        state.apply(message, NOW + number)
        head = next_registry_head(head, message, NOW + number)
        assert state.head == head


@FEW
@given(st.integers(0, len(ENROLMENT) - 1), st.integers(1, 1000))
def test_another_time_of_any_action_gives_another_head(position: int, shift: int) -> None:
    state = RegistryState()
    for number, message in enumerate(ENROLMENT):
        state.apply(message, NOW + (shift if number == position else 0))
    assert state.head != enrolled().head


def test_an_action_left_out_is_missed_or_gives_another_head() -> None:
    for position in range(len(ENROLMENT)):
        state = RegistryState()
        try:
            for number, message in enumerate(ENROLMENT):
                if number != position:
                    state.apply(message, NOW)
        except IntegrityError:
            continue
        assert state.head != enrolled().head


REFUSED: list[tuple[str, RegistryMessage]] = [
    ("an organisation twice", ADD),
    ("an organisation with a nonce", AddOrganisation(b"\x09" * 32, ADMIN.address, 1)),
    ("the organisation zero", AddOrganisation(ZERO, ADMIN.address, 0)),
    ("an organisation without an admin", AddOrganisation(b"\x09" * 32, bytes(20), 0)),
    ("an admin zero", RotateAdmin(SITE, bytes(20), b"", 4)),
    ("an admin of nobody", RotateAdmin(b"\x09" * 32, OTHER.address, b"", 0)),
    ("a device twice", replace(REGISTER, nonce=4)),
    ("a device of another's", replace(REGISTER, organisation=OTHER_SITE, nonce=1)),
    ("a device of nobody", RegisterDevice(b"\x09" * 32, b"\x09" * 20, NOW, NOW + 1, 1, b"", 0)),
    ("the device zero", replace(REGISTER, device=bytes(20), nonce=4)),
    ("a device with an empty window", replace(REGISTER, device=b"\x09" * 20, valid_until=NOW, nonce=4)),
    ("a device with a nonce that was used", replace(REGISTER, device=b"\x09" * 20, nonce=3)),
    ("a device with a nonce to come", replace(REGISTER, device=b"\x09" * 20, nonce=5)),
    ("a revocation of an unknown device", replace(REVOKE, device=b"\x09" * 20)),
    ("a revocation after the end", replace(REVOKE, at=NOW + 1001)),
    ("a dataset twice", replace(DATA, nonce=4)),
    ("a dataset of nobody", replace(DATA, dataset=b"\x09" * 32, organisation=b"\x09" * 32, nonce=0)),
    ("the dataset zero", replace(DATA, dataset=ZERO, nonce=4)),
    ("a dataset without rows", replace(DATA, dataset=b"\x09" * 32, nominal_size=0, nonce=4)),
    ("a grant for an unknown dataset", replace(GRANT, dataset=b"\x09" * 32, nonce=4)),
    ("a grant for another size", replace(GRANT, nominal_size=304, nonce=4)),
    ("a grant with an empty window", replace(GRANT, until=NOW, nonce=4)),
    ("a grant that was replaced, again", GRANT),
    ("a withdrawal for an unknown dataset", replace(WITHDRAW, dataset=b"\x09" * 32)),
    ("a withdrawal after the end", replace(WITHDRAW, at=NOW + 1001)),
    ("a withdrawal with an old nonce", replace(WITHDRAW, nonce=3)),
]


@pytest.mark.parametrize("message", [message for _, message in REFUSED], ids=[name for name, _ in REFUSED])
def test_what_the_contract_refuses_is_refused_and_changes_nothing(message: RegistryMessage) -> None:
    state = enrolled()
    before = deepcopy(state)
    with pytest.raises(IntegrityError, match=type(message).__name__):
        state.apply(message, NOW)
    assert state == before


def test_a_device_is_revoked_once_and_a_grant_withdrawn_once() -> None:
    state = enrolled(REVOKE, replace(WITHDRAW, nonce=5))
    for message in (replace(REVOKE, nonce=6), replace(WITHDRAW, nonce=6)):
        with pytest.raises(IntegrityError, match="once"):
            state.apply(message, NOW)


def test_a_revocation_for_the_end_of_time_is_still_one() -> None:
    forever = replace(REGISTER, device=b"\x09" * 20, valid_until=2**64 - 1, nonce=4)
    state = enrolled(forever, RevokeDevice(forever.device, 2**64 - 1, 5))
    with pytest.raises(IntegrityError, match="once"):
        state.apply(RevokeDevice(forever.device, NOW, 6), NOW)


def test_a_withdrawal_without_a_grant_is_refused() -> None:
    state = RegistryState()
    for message in (ADD, replace(DATA, nonce=1)):
        state.apply(message, NOW)
    with pytest.raises(IntegrityError, match="a grant exists"):
        state.apply(replace(WITHDRAW, nonce=2), NOW)


def test_a_new_grant_replaces_the_one_before_it_and_ends_a_withdrawal() -> None:
    again = replace(GRANT, micro_epsilon_grant=1, nonce=5)
    state = enrolled(WITHDRAW, again, at=NOW + 600)
    assert state.consent(DATASET, at=NOW + 700) == again


@pytest.mark.parametrize(("at", "is_valid"), [(NOW - 1, False), (NOW, True), (NOW + 999, True), (NOW + 1000, False)])
def test_keys_and_grants_hold_from_the_first_second_to_before_the_last(at: int, is_valid: bool) -> None:
    state = enrolled()
    assert state.is_device_valid(DEVICE, at=at) == is_valid
    assert (state.consent(DATASET, at=at) == GRANT) == is_valid


def test_nobody_knows_a_stranger() -> None:
    assert not enrolled().is_device_valid(b"\x09" * 20, at=NOW)
    assert enrolled().consent(b"\x09" * 32, at=NOW) is None


# Recorded at NOW + 100, from NOW + 500 on (or from NOW - 500: then from the second in which it was recorded).
REVOCATIONS = [
    (NOW + 500, NOW + 499, True),
    (NOW + 500, NOW + 500, False),
    (NOW + 500, NOW + 999, False),
    (NOW - 500, NOW + 99, True),
    (NOW - 500, NOW + 100, False),
    (NOW - 500, NOW + 999, False),
]


@pytest.mark.parametrize(("since", "at", "is_valid"), REVOCATIONS)
def test_a_revocation_holds_from_its_second_but_never_before_it_was_recorded(
    since: int, at: int, is_valid: bool
) -> None:
    state = enrolled()
    state.apply(replace(REVOKE, at=since), NOW + 100)
    assert state.is_device_valid(DEVICE, at=at) == is_valid


@pytest.mark.parametrize(("since", "at", "is_valid"), REVOCATIONS)
def test_a_withdrawal_holds_like_a_revocation(since: int, at: int, is_valid: bool) -> None:
    state = enrolled()
    state.apply(replace(WITHDRAW, at=since), NOW + 100)
    assert (state.consent(DATASET, at=at) == GRANT) == is_valid


@pytest.mark.parametrize("message", [REGISTER, DATA, GRANT, REVOKE, WITHDRAW], ids=lambda each: type(each).__name__)
def test_a_sites_action_needs_the_signature_of_its_own_admin(message: RegistryMessage) -> None:
    state, digest = enrolled(), signing_digest(DOMAIN, message)
    assert state.authority(message) == ADMIN.address
    assert check_authority(state, DOMAIN, message, ADMIN.sign(digest))
    for signature in (
        OTHER.sign(digest),
        ADMIN.sign(signing_digest(Domain(1, DOMAIN.contract), message)),
        ADMIN.sign(digest)[:64],
        bytes(65),
    ):
        with pytest.raises(IntegrityError, match="registry signature"):
            check_authority(state, DOMAIN, message, signature)


def rotated(to: NamedSigner, by: NamedSigner, *, organisation: bytes = SITE, domain: Domain = DOMAIN) -> RotateAdmin:
    """Return a hand-over whose possession is another key's, or for another place, where a test says so."""
    possession = by.sign(signing_digest(domain, KeyPossession(organisation, to.address)))
    return RotateAdmin(SITE, to.address, possession, 4)


def test_after_a_rotation_only_the_new_admin_speaks_for_the_site() -> None:
    state, message = enrolled(), rotated(OTHER, OTHER)
    assert check_authority(state, DOMAIN, message, ADMIN.sign(signing_digest(DOMAIN, message)))
    state.apply(message, NOW)
    withdrawal = replace(WITHDRAW, nonce=5)
    digest = signing_digest(DOMAIN, withdrawal)
    assert check_authority(state, DOMAIN, withdrawal, OTHER.sign(digest))
    with pytest.raises(IntegrityError, match="registry signature"):
        check_authority(state, DOMAIN, withdrawal, ADMIN.sign(digest))


STRANGER = NamedSigner("a stranger")


@pytest.mark.parametrize(
    "message",
    [
        rotated(STRANGER, OTHER),
        rotated(STRANGER, STRANGER, organisation=OTHER_SITE),
        rotated(STRANGER, STRANGER, domain=Domain(1, DOMAIN.contract)),
        replace(rotated(STRANGER, STRANGER), possession=b""),
        replace(REGISTER, possession=b""),
        replace(REGISTER, possession=bytes(65)),
        replace(REGISTER, possession=ADMIN.sign(signing_digest(DOMAIN, KeyPossession(SITE, DEVICE)))),
        replace(REGISTER, possession=DEVICE_KEY.sign(signing_digest(DOMAIN, KeyPossession(OTHER_SITE, DEVICE)))),
    ],
    ids=[
        "admin by another", "admin elsewhere", "admin on another chain", "admin silent",
        "device silent", "device zeros", "device by the admin", "device elsewhere",
    ],
)  # fmt: skip
def test_a_new_key_itself_says_that_it_belongs_to_the_site(message: RegistryMessage) -> None:
    with pytest.raises(IntegrityError, match="registry signature"):
        check_authority(enrolled(), DOMAIN, message, ADMIN.sign(signing_digest(DOMAIN, message)))


def test_an_action_without_a_signature_is_only_the_chains_word() -> None:
    assert not check_authority(enrolled(), DOMAIN, REVOKE, b"")


def test_the_operator_signs_nothing() -> None:
    assert RegistryState().authority(ADD) is None
    assert not check_authority(RegistryState(), DOMAIN, ADD, b"")


@pytest.mark.parametrize(
    "message", [REGISTER, DATA, GRANT, REVOKE, WITHDRAW, rotated(OTHER, OTHER)], ids=lambda each: type(each).__name__
)
def test_an_action_on_something_unknown_has_no_authority(message: Any) -> None:
    with pytest.raises(IntegrityError, match="is known"):
        check_authority(RegistryState(), DOMAIN, message, ADMIN.sign(signing_digest(DOMAIN, message)))
