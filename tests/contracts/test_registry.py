"""FedRegistry refuses by name, keeps what it was told, and cannot be talked into anything by a clever signature.

That it does what every ledger does is in tests/conformance/test_ledger.py; here is what only a contract can do wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest

from fedchain.adapters.evm.chain import Call, EmbeddedChain, RevertedError
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.events import REGISTRY
from fedchain.adapters.evm.ledger import EvmRegistry
from fedchain.adapters.evm.node import Node
from fedchain.core.eip712 import Domain, members, signing_digest
from fedchain.core.errors import RejectedTransactionError
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
from fedchain.ports.ledger import LedgerIdentity
from tests.doubles.clock import ManualClock
from tests.doubles.evm import CHAIN_ID, DEPLOYER, FEDERATION, OPERATOR, OTHER_SITE, RELAYER, SITE, STRANGER, deployed
from tests.doubles.p256 import P256Signer
from tests.doubles.signer import NamedSigner

SECP256K1_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ORGANISATION, OTHER_ORGANISATION, DATASET, UNKNOWN = (bytes([n]) * 32 for n in range(1, 5))
NO_ADDRESS, ZERO = bytes(20), bytes(32)
DEVICE_KEY = NamedSigner("device")
DEVICE = DEVICE_KEY.address
NOW = ManualClock().time
END = NOW + 1_000_000

DOMAIN = Domain(CHAIN_ID, contract_address(DEPLOYER.address, 0))
"""Of the registry: the deployer's first contract."""


def belongs(key: NamedSigner, organisation: bytes = ORGANISATION) -> bytes:
    """Return the signature by which a key says that it belongs to an organisation."""
    return key.sign(signing_digest(DOMAIN, KeyPossession(organisation, key.address)))


REGISTER_DEVICE = RegisterDevice(ORGANISATION, DEVICE, NOW, END, 1, belongs(DEVICE_KEY), 1)
REGISTER_DATASET = RegisterDataset(DATASET, ORGANISATION, 303, 2)
GRANT = ConsentGrant(DATASET, FEDERATION, b"\x21" * 32, NOW, END, 8_000_000, 10**7, b"\x22" * 32, 303, 3)

# An ERC-1271 wallet that says yes to everything, in 14 bytes: mstore(0, 0x1626ba7e << 224); return(0, 32).
YES_WALLET = bytes.fromhex("631626ba7e60e01b5f5260205ff3")
NO_WALLET = bytes.fromhex("60015f5260205ff3")
BURNING_WALLET = bytes.fromhex("5b5f56")
BOMBING_WALLET = bytes.fromhex("620fffff5ff3")


@dataclass(frozen=True, slots=True)
class World:
    clock: ManualClock
    chain: EmbeddedChain
    node: Node
    identity: LedgerIdentity
    operator: EvmRegistry
    relayer: EvmRegistry

    def sign(self, message: RegistryMessage, admin: NamedSigner = SITE) -> bytes:
        return admin.sign(signing_digest(self.identity.registry, message))

    def submit(self, message: RegistryMessage, admin: NamedSigner = SITE) -> None:
        self.relayer.submit(message, self.sign(message, admin))

    def view(self, function: str, argument: bytes) -> tuple[Any, ...]:
        (found,) = self.node.call(self.identity.registry_contract, REGISTRY, function, argument)
        return tuple(found)

    def head(self) -> bytes:
        return bytes(self.node.call(self.identity.registry_contract, REGISTRY, "registryHead")[0])

    def wallet(self, runtime: bytes) -> bytes:
        """Deploy code as a wallet: codecopy(0, 10, size); return(0, size)."""
        size = len(runtime)
        creation = bytes([0x60, size, 0x60, 10, 0x5F, 0x39, 0x60, size, 0x5F, 0xF3]) + runtime
        address = contract_address(RELAYER.address, self.node.nonce(RELAYER.address))
        self.node.send(RELAYER, REGISTRY, creation, None)
        assert self.node.code(address) == runtime
        return address


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    clock = ManualClock()
    with deployed(tmp_path / "chain.sqlite", clock) as contracts:
        yield World(
            clock, contracts.chain, contracts.node, contracts.identity,
            EvmRegistry(contracts.node, contracts.identity, OPERATOR),
            EvmRegistry(contracts.node, contracts.identity, RELAYER),
        )  # fmt: skip


@pytest.fixture
def populated(world: World) -> World:
    """One organisation with a device, a dataset and a consent; the next nonce is 4."""
    world.operator.add_organisation(ORGANISATION, SITE.address)
    for message in (REGISTER_DEVICE, REGISTER_DATASET, GRANT):
        world.submit(message)
    return world


# who may do what


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (replace(REGISTER_DEVICE, nonce=4), "DeviceExists"),
        (replace(REGISTER_DEVICE, nonce=4, device=NO_ADDRESS), "ZeroValue"),
        (replace(REGISTER_DEVICE, nonce=4, device=STRANGER.address, valid_until=NOW), "EmptyWindow"),
        (replace(REGISTER_DEVICE, nonce=4, device=STRANGER.address, organisation=UNKNOWN), "UnknownOrganisation"),
        (replace(REGISTER_DEVICE, nonce=5, device=STRANGER.address), "WrongNonce(expected 4, got 5)"),
        (replace(REGISTER_DEVICE, nonce=3, device=STRANGER.address), "WrongNonce(expected 4, got 3)"),
        (RevokeDevice(STRANGER.address, NOW, 4), "UnknownDevice"),
        (RevokeDevice(DEVICE, END + 1, 4), "AfterTheEnd"),
        (RevokeDevice(DEVICE, NOW, 3), "WrongNonce"),
        (replace(REGISTER_DATASET, nonce=4), "DatasetExists"),
        (replace(REGISTER_DATASET, nonce=4, dataset=ZERO), "ZeroValue"),
        (replace(REGISTER_DATASET, nonce=4, dataset=UNKNOWN, nominal_size=0), "ZeroValue"),
        (replace(GRANT, nonce=4, dataset=UNKNOWN), "UnknownDataset"),
        (replace(GRANT, nonce=4, federation=UNKNOWN), "ForeignFederation"),
        (replace(GRANT, nonce=4, nominal_size=302), "WrongNominalSize(expected 303, got 302)"),
        (replace(GRANT, nonce=4, until=NOW), "EmptyWindow"),
        (ConsentWithdraw(UNKNOWN, NOW, 1, 4), "NoConsent"),
        (ConsentWithdraw(DATASET, END + 1, 1, 4), "AfterTheEnd"),
        (ConsentWithdraw(DATASET, NOW, 1, 9), "WrongNonce"),
    ],
)
def test_each_rule_refuses_by_its_own_name(populated: World, message: RegistryMessage, error: str) -> None:
    head = populated.head()
    with pytest.raises(RejectedTransactionError) as refusal:
        populated.submit(message)
    assert error in str(refusal.value)
    assert populated.head() == head


def test_adding_an_organisation_refuses_by_name(populated: World) -> None:
    for organisation, admin, error in (
        (ORGANISATION, SITE.address, "OrganisationExists"),
        (ZERO, SITE.address, "ZeroValue"),
        (UNKNOWN, NO_ADDRESS, "ZeroValue"),
    ):
        with pytest.raises(RejectedTransactionError, match=error):
            populated.operator.add_organisation(organisation, admin)
    with pytest.raises(RejectedTransactionError, match="AccessControlUnauthorizedAccount"):
        populated.relayer.add_organisation(UNKNOWN, SITE.address)


def test_second_revocations_and_withdrawals_are_refused_by_name(populated: World) -> None:
    populated.submit(RevokeDevice(DEVICE, NOW + 100, 4))
    with pytest.raises(RejectedTransactionError, match="DeviceAlreadyRevoked"):
        populated.submit(RevokeDevice(DEVICE, NOW + 50, 5))
    populated.submit(ConsentWithdraw(DATASET, NOW + 100, 1, 5))
    with pytest.raises(RejectedTransactionError, match="ConsentAlreadyWithdrawn"):
        populated.submit(ConsentWithdraw(DATASET, NOW + 50, 1, 6))


def test_the_operator_can_hand_over_its_role_but_not_act_for_a_site(populated: World) -> None:
    role = populated.node.call(populated.identity.registry_contract, REGISTRY, "OPERATOR_ROLE")[0]
    for function, account in (("grantRole", STRANGER.address), ("revokeRole", OPERATOR.address)):
        data = REGISTRY.call(function, role, account)
        populated.node.send(OPERATOR, REGISTRY, data, populated.identity.registry_contract)
    with pytest.raises(RejectedTransactionError):
        populated.operator.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    successor = EvmRegistry(populated.node, populated.identity, STRANGER)
    successor.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        populated.submit(RevokeDevice(DEVICE, NOW, 4), STRANGER)


# signatures


def test_a_malleable_signature_is_refused(populated: World) -> None:
    message = RevokeDevice(DEVICE, NOW, 4)
    signature = populated.sign(message)
    high = SECP256K1_ORDER - int.from_bytes(signature[32:64])
    mirrored = signature[:32] + high.to_bytes(32) + bytes([55 - signature[64]])
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        populated.relayer.submit(message, mirrored)
    populated.relayer.submit(message, signature)


def test_a_signature_of_another_form_is_refused(populated: World) -> None:
    message = RevokeDevice(DEVICE, NOW, 4)
    signature = populated.sign(message)
    short_form = signature[:32] + bytes([signature[32] | (signature[64] - 27) << 7]) + signature[33:64]
    wrong_v = (signature[:64] + bytes([v]) for v in (0, 1, signature[64] ^ 7, 255))
    for wrong in (short_form, signature + b"\0", signature[:-1], bytes(65), b"\xff" * 65, *wrong_v):
        with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
            populated.relayer.submit(message, wrong)


def test_a_signature_longer_than_the_limit_is_refused(populated: World) -> None:
    for size in (1025, 24_576):
        with pytest.raises(RejectedTransactionError, match=r"SignatureTooLong\(limit 1024"):
            populated.relayer.submit(RevokeDevice(DEVICE, NOW, 4), bytes(size))


@pytest.mark.parametrize("field", ["chain", "contract"])
def test_a_signature_for_another_chain_or_contract_is_refused(populated: World, field: str) -> None:
    here = populated.identity.registry
    foreign = Domain(CHAIN_ID + 1, here.contract) if field == "chain" else Domain(CHAIN_ID, STRANGER.address)
    message = RevokeDevice(DEVICE, NOW, 4)
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        populated.relayer.submit(message, SITE.sign(signing_digest(foreign, message)))


@pytest.mark.parametrize(
    "message",
    [
        replace(REGISTER_DEVICE, device=STRANGER.address, possession=belongs(STRANGER), nonce=4),
        RotateAdmin(ORGANISATION, STRANGER.address, belongs(STRANGER), 4),
        RevokeDevice(DEVICE, NOW + 7, 4),
        replace(REGISTER_DATASET, dataset=UNKNOWN, nonce=4),
        replace(GRANT, nonce=4),
        ConsentWithdraw(DATASET, NOW + 7, 3, 4),
    ],
)
def test_a_signature_covers_every_member_of_its_message(populated: World, message: RegistryMessage) -> None:
    for kind, name in members(message.TYPE):
        value = getattr(message, name)
        changed: object = value + 1 if kind.startswith("uint") else bytes([value[0] ^ 1]) + value[1:]
        other: RegistryMessage = replace(cast("Any", message), **{name: changed})
        with pytest.raises(RejectedTransactionError):
            populated.relayer.submit(other, populated.sign(message))
    populated.submit(message)


def test_an_admin_of_two_organisations_signs_for_each_of_them_apart(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    world.operator.add_organisation(OTHER_ORGANISATION, SITE.address)
    signature = world.sign(REGISTER_DEVICE)
    other = belongs(DEVICE_KEY, OTHER_ORGANISATION)
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        world.relayer.submit(replace(REGISTER_DEVICE, organisation=OTHER_ORGANISATION, possession=other), signature)


# keys that prove themselves


@pytest.mark.parametrize(
    "possession",
    [b"", bytes(65), belongs(SITE), belongs(DEVICE_KEY, OTHER_ORGANISATION), bytes(128), b"\x01" * 1025],
    ids=["silent", "zeros", "by the admin", "elsewhere", "zeros of P-256", "long"],
)
def test_a_device_key_itself_says_that_it_belongs_to_the_organisation(world: World, possession: bytes) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    with pytest.raises(RejectedTransactionError, match="NotPossessed"):
        world.submit(replace(REGISTER_DEVICE, possession=possession))
    world.submit(REGISTER_DEVICE)


def test_a_device_key_may_be_of_p256_as_hardware_keeps_it(world: World) -> None:
    key = P256Signer(b"a module")
    world.operator.add_organisation(ORGANISATION, SITE.address)
    possession = key.sign(signing_digest(DOMAIN, KeyPossession(ORGANISATION, key.address)))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = possession[:32] + (order - int.from_bytes(possession[32:64])).to_bytes(32) + possession[64:]
    for wrong in (mirrored, possession[:127] + b"\0", possession[:65]):
        with pytest.raises(RejectedTransactionError, match="NotPossessed"):
            world.submit(replace(REGISTER_DEVICE, device=key.address, possession=wrong))
    world.submit(replace(REGISTER_DEVICE, device=key.address, possession=possession))
    assert world.view("deviceOf", key.address)[0] == ORGANISATION


def test_after_a_rotation_only_the_new_admin_speaks_for_the_organisation(populated: World) -> None:
    populated.submit(RotateAdmin(ORGANISATION, OTHER_SITE.address, belongs(OTHER_SITE), 4))
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        populated.submit(RevokeDevice(DEVICE, NOW, 5))
    populated.submit(RevokeDevice(DEVICE, NOW, 5), OTHER_SITE)
    assert populated.view("organisationOf", ORGANISATION) == ("0x" + OTHER_SITE.address.hex(), 5)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (RotateAdmin(ORGANISATION, NO_ADDRESS, b"", 4), "ZeroValue"),
        (RotateAdmin(UNKNOWN, STRANGER.address, belongs(STRANGER), 4), "UnknownOrganisation"),
        (RotateAdmin(ORGANISATION, STRANGER.address, b"", 4), "NotPossessed"),
        (RotateAdmin(ORGANISATION, STRANGER.address, belongs(SITE), 4), "NotPossessed"),
        (RotateAdmin(ORGANISATION, STRANGER.address, belongs(STRANGER, OTHER_ORGANISATION), 4), "NotPossessed"),
        (RotateAdmin(ORGANISATION, STRANGER.address, b"\x01" * 1025, 4), "SignatureTooLong"),
        (RotateAdmin(ORGANISATION, STRANGER.address, belongs(STRANGER), 5), "WrongNonce"),
    ],
)
def test_an_administration_is_handed_only_to_a_key_that_takes_it(
    populated: World, message: RegistryMessage, error: str
) -> None:
    with pytest.raises(RejectedTransactionError, match=error):
        populated.submit(message)


# contracts as admins


def test_a_wallet_contract_may_be_an_admin(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, world.wallet(YES_WALLET))
    world.relayer.submit(REGISTER_DEVICE, b"the wallet's own form")
    assert world.view("deviceOf", DEVICE)[0] == ORGANISATION


def test_a_wallet_contract_is_not_asked_about_an_empty_signature(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, world.wallet(YES_WALLET))
    with pytest.raises(RejectedTransactionError, match="NotAuthorised"):
        world.relayer.submit(REGISTER_DEVICE, b"")


@pytest.mark.parametrize("runtime", [NO_WALLET, BURNING_WALLET, BOMBING_WALLET])
def test_a_hostile_wallet_harms_only_who_calls_it(world: World, runtime: bytes) -> None:
    world.operator.add_organisation(ORGANISATION, world.wallet(runtime))
    world.operator.add_organisation(OTHER_ORGANISATION, SITE.address)
    fields = tuple(getattr(REGISTER_DEVICE, name) for _, name in members(REGISTER_DEVICE.TYPE))
    data = REGISTRY.call("registerDevice", fields, b"signature")
    with pytest.raises(RevertedError):
        world.chain.call(Call(RELAYER.address, world.identity.registry_contract, data, gas=200_000), None)
    other = belongs(DEVICE_KEY, OTHER_ORGANISATION)
    world.submit(replace(REGISTER_DEVICE, organisation=OTHER_ORGANISATION, possession=other))


# what it keeps


def test_views_return_what_was_recorded(populated: World) -> None:
    assert populated.view("organisationOf", ORGANISATION) == ("0x" + SITE.address.hex(), 3)
    assert populated.view("deviceOf", DEVICE) == (ORGANISATION, NOW, END, 0, 1)
    assert populated.view("datasetOf", DATASET) == (ORGANISATION, 303)
    granted = populated.chain.head().timestamp
    assert populated.view("consentOf", DATASET) == (
        GRANT.policy, GRANT.unit, NOW, END, GRANT.micro_epsilon_grant, GRANT.delta_e12, granted, 0,
    )  # fmt: skip


def test_views_return_zeros_for_what_is_unknown(world: World) -> None:
    for function in ("organisationOf", "datasetOf", "consentOf"):
        assert not any(int(value, 16) if isinstance(value, str) else any(value) if isinstance(value, bytes) else value
                       for value in world.view(function, UNKNOWN))  # fmt: skip


@pytest.mark.parametrize(("at", "effective"), [(0, None), (NOW - 1, None), (NOW + 500, NOW + 500), (END, END)])
def test_revocation_and_withdrawal_take_effect_at_their_time_but_never_before_the_block(
    populated: World, at: int, effective: int | None
) -> None:
    populated.submit(RevokeDevice(DEVICE, at, 4))
    revoked = populated.chain.head().timestamp
    populated.submit(ConsentWithdraw(DATASET, at, 1, 5))
    withdrawn = populated.chain.head().timestamp
    assert populated.view("deviceOf", DEVICE)[3] == (revoked if effective is None else effective)
    assert populated.view("consentOf", DATASET)[7] == (withdrawn if effective is None else effective)


def test_a_new_grant_replaces_a_withdrawn_one(populated: World) -> None:
    populated.submit(ConsentWithdraw(DATASET, NOW, 1, 4))
    renewed = replace(GRANT, policy=b"\x31" * 32, until=END + 5, nonce=5)
    populated.submit(renewed)
    consent = populated.view("consentOf", DATASET)
    assert (consent[0], consent[3], consent[7]) == (renewed.policy, END + 5, 0)


def test_the_signing_domain_is_readable_from_the_contract(world: World) -> None:
    _, name, version, chain_id, contract, _, _ = world.node.call(
        world.identity.registry_contract, REGISTRY, "eip712Domain"
    )
    assert (name, version, chain_id) == ("fedchain", "1", CHAIN_ID)
    assert contract == "0x" + world.identity.registry_contract.hex()


def test_a_registry_needs_a_federation_and_an_operator(world: World) -> None:
    for federation, operator in ((ZERO, OPERATOR.address), (FEDERATION, NO_ADDRESS)):
        with pytest.raises(RejectedTransactionError, match="ZeroValue"):
            world.node.send(RELAYER, REGISTRY, REGISTRY.creation(federation, operator), None)


def test_only_the_operators_act_is_never_a_message(world: World) -> None:
    assert AddOrganisation.TYPE.split("(")[0] not in {name[0].upper() + name[1:] for name in _signed_functions()}


def _signed_functions() -> list[str]:
    return [name for name, types in REGISTRY.functions.items() if len(types) == 2 and types[1] == "bytes"]
