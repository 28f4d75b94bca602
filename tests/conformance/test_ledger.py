"""What every ledger does, whatever it is made of: in memory, in a signed log, on the embedded chain, behind HTTP.

Another kind of ledger is one more entry of WORLDS.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedchain.adapters.evm.deployment import deploy, remote_node
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.node import Node
from fedchain.adapters.evm.remote import RpcSettings, rpc_node
from fedchain.adapters.log.entries import terms_of
from fedchain.adapters.log.file import LogWriter, create_log
from fedchain.adapters.log.ledger import LogLedger, LogRegistry
from fedchain.core.digest import ZERO
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import RejectedTransactionError
from fedchain.core.messages import (
    AddOrganisation,
    ConsentGrant,
    ConsentWithdraw,
    RegisterDataset,
    RegisterDevice,
    RegistryMessage,
    RevokeDevice,
    RotateAdmin,
)
from fedchain.core.record import LinkContext, LinkKind, RoundLink, head_slot, next_registry_head, round_hash
from fedchain.ports.ledger import Ledger, LedgerIdentity, Registry, RegistryEvent
from tests.doubles.anvil import anvil
from tests.doubles.clock import ManualClock
from tests.doubles.evm import (
    AGGREGATOR,
    CHAIN_ID,
    DEPLOYER,
    FEDERATION,
    OPERATOR,
    OTHER_SITE,
    RELAYER,
    SITE,
    STRANGER,
    TERMS,
    deployed,
    served,
)
from tests.doubles.ledger import MemoryLedger, MemoryRecord, MemoryRegistry
from tests.doubles.possession import possessed
from tests.doubles.signer import NamedSigner

ORGANISATION, OTHER_ORGANISATION, DATASET, RUN, OTHER_RUN = (bytes([n]) * 32 for n in range(1, 6))
LOG = NamedSigner("log")
DEVICE_KEY = NamedSigner("device")
DEVICE = DEVICE_KEY.address
LINK = RoundLink(
    run=RUN,
    round=1,
    kind=LinkKind.SEALED,
    updates_root=b"\x11" * 32,
    rejected_root=ZERO,
    base_model=b"\x13" * 32,
    model_digest=b"\x14" * 32,
    manifest_digest=b"\x15" * 32,
    accepted=4,
    rejected=0,
)


@dataclass(frozen=True, slots=True)
class World:
    """One ledger, seen by the aggregator and by a stranger; its registry, by the operator, a relayer and a site."""

    clock: ManualClock
    ledger: Ledger
    as_stranger: Ledger
    operator: Registry
    relayer: Registry
    site: Registry

    @property
    def identity(self) -> LedgerIdentity:
        return self.ledger.identity()

    def submit(self, message: RegistryMessage, admin: NamedSigner = SITE) -> bytes:
        message = possessed(message, self.identity.registry, *KEYS)
        return self.relayer.submit(message, admin.sign(signing_digest(self.identity.registry, message)))

    def device(self) -> RegistryMessage:
        """Return the registration of the device, with what its key says of itself on this ledger."""
        return possessed(REGISTER_DEVICE, self.identity.registry, *KEYS)

    def populate(self) -> None:
        """Add an organisation with a device, a dataset and its consent: nonces 1, 2 and 3."""
        self.operator.add_organisation(ORGANISATION, SITE.address)
        for message in (REGISTER_DEVICE, REGISTER_DATASET, GRANT):
            self.submit(message)

    def context(self, previous_hash: bytes) -> LinkContext:
        return LinkContext(self.identity.rounds, FEDERATION, previous_hash, self.ledger.registry_head())


NOW = ManualClock().time
KEYS = (DEVICE_KEY, SITE, OTHER_SITE, STRANGER)
REGISTER_DEVICE = RegisterDevice(ORGANISATION, DEVICE, NOW, NOW + 1_000_000, 1, b"", 1)
REGISTER_DATASET = RegisterDataset(DATASET, ORGANISATION, 303, 2)
GRANT = ConsentGrant(DATASET, FEDERATION, b"\x21" * 32, NOW, NOW + 1_000_000, 8_000_000, 10**7, b"\x22" * 32, 303, 3)


@contextmanager
def in_memory(_folder: Path, clock: ManualClock) -> Iterator[World]:
    identity = LedgerIdentity(CHAIN_ID, b"\x01" * 20, b"\x02" * 20, FEDERATION)
    record = MemoryRecord(identity, clock, OPERATOR.address, AGGREGATOR.address)
    yield World(
        clock,
        MemoryLedger(record, AGGREGATOR.address),
        MemoryLedger(record, STRANGER.address),
        *(MemoryRegistry(record, each.address) for each in (OPERATOR, RELAYER, SITE)),
    )


@contextmanager
def in_a_log(folder: Path, clock: ManualClock) -> Iterator[World]:
    create_log(folder / "log", LOG, clock, terms_of(FEDERATION, OPERATOR.address, AGGREGATOR.address))
    with closing(LogWriter(folder / "log", LOG, clock)) as log:
        yield World(
            clock,
            LogLedger(log, (log, AGGREGATOR)),
            LogLedger(log, (log, STRANGER)),
            *(LogRegistry(log, each) for each in (OPERATOR, RELAYER, SITE)),
        )


@contextmanager
def on_the_embedded_chain(folder: Path, clock: ManualClock) -> Iterator[World]:
    with deployed(folder / "chain.sqlite", clock) as contracts:
        yield _evm(clock, contracts.node, contracts.identity)


@contextmanager
def behind_http(folder: Path, clock: ManualClock) -> Iterator[World]:
    with deployed(folder / "chain.sqlite", clock) as contracts, served(contracts.chain) as url:
        yield _evm(clock, remote_node(url), contracts.identity)


@contextmanager
def on_another_node(folder: Path, clock: ManualClock) -> Iterator[World]:
    with anvil(folder) as chain, rpc_node(RpcSettings((chain.url,), CHAIN_ID, poll_s=0.01), folder / "i") as node:
        chain.follow(clock)
        yield _evm(clock, node, deploy(node, DEPLOYER, TERMS))


WORLDS: dict[str, Callable[[Path, ManualClock], AbstractContextManager[World]]] = {
    "memory": in_memory,
    "log": in_a_log,
    "embedded": on_the_embedded_chain,
    "http": behind_http,
    "anvil": on_another_node,
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    with WORLDS[request.param](tmp_path, ManualClock()) as made:
        yield made


def _evm(clock: ManualClock, node: Node, identity: LedgerIdentity) -> World:
    return World(
        clock,
        EvmLedger(node, identity, AGGREGATOR),
        EvmLedger(node, identity, STRANGER),
        *(EvmRegistry(node, identity, each) for each in (OPERATOR, RELAYER, SITE)),
    )


# reading


def test_the_aggregator_alone_has_the_lead(world: World) -> None:
    world.ledger.check_lead()
    with pytest.raises(RejectedTransactionError):
        world.as_stranger.check_lead()


def test_a_new_ledger_is_empty(world: World) -> None:
    assert list(world.ledger.events()) == []
    assert world.ledger.registry_head() == ZERO
    assert world.ledger.head_slot(RUN) == ZERO
    assert world.ledger.find(RUN, 1) is None


def test_events_of_registry_and_rounds_come_in_the_order_of_their_transactions(world: World) -> None:
    world.populate()
    first = world.ledger.seal(LINK, ZERO)
    world.submit(RevokeDevice(DEVICE, world.clock.now(), 4))
    world.ledger.seal(replace(LINK, round=2), first.round_hash)
    kinds = [
        type(event.message) if isinstance(event, RegistryEvent) else event.link.kind for event in world.ledger.events()
    ]
    assert kinds == [
        AddOrganisation, RegisterDevice, RegisterDataset, ConsentGrant, LinkKind.SEALED, RevokeDevice, LinkKind.SEALED,
    ]  # fmt: skip


def test_registry_events_give_back_the_message_and_the_signature(world: World) -> None:
    world.populate()
    world.submit(ConsentWithdraw(DATASET, world.clock.now(), 2, 4))
    messages = [
        AddOrganisation(ORGANISATION, SITE.address, 0), world.device(), REGISTER_DATASET, GRANT,
        ConsentWithdraw(DATASET, world.clock.now(), 2, 4),
    ]  # fmt: skip
    events = [event for event in world.ledger.events() if isinstance(event, RegistryEvent)]
    assert [event.message for event in events] == messages
    assert events[0].signature == b""
    for event in events[1:]:
        assert event.signature == SITE.sign(signing_digest(world.identity.registry, event.message))


def test_registry_events_lead_to_the_head_that_the_ledger_keeps(world: World) -> None:
    world.populate()
    head = ZERO
    for event in world.ledger.events():
        assert isinstance(event, RegistryEvent)
        head = next_registry_head(head, event.message, event.at)
    assert world.ledger.registry_head() == head


def test_transactions_of_events_are_the_ones_that_the_writers_were_told(world: World) -> None:
    added = world.operator.add_organisation(ORGANISATION, SITE.address)
    registered = world.submit(REGISTER_DEVICE)
    sealed = world.ledger.seal(LINK, ZERO).transaction
    assert [event.transaction for event in world.ledger.events()] == [added, registered, sealed]


def test_times_of_events_follow_the_clock_and_never_go_back(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    world.clock.forward(1000)
    world.submit(REGISTER_DEVICE)
    world.ledger.seal(LINK, ZERO)
    times = [event.at for event in world.ledger.events()]
    assert times == sorted(times)
    assert times[1] == world.clock.now()


# sealing


def test_a_seal_returns_the_round_hash_that_the_core_computes(world: World) -> None:
    world.populate()
    seal = world.ledger.seal(LINK, ZERO)
    assert seal.round_hash == round_hash(LINK, world.context(ZERO))
    found = world.ledger.find(RUN, 1)
    assert found is not None
    assert (found.link, found.round_hash, found.previous_hash) == (LINK, seal.round_hash, ZERO)


def test_the_slot_of_a_run_is_the_hash_of_its_last_link(world: World) -> None:
    first = world.ledger.seal(LINK, ZERO)
    assert world.ledger.head_slot(RUN) == head_slot(1, first.round_hash, closed=False)
    aborted = replace(LINK, round=2, kind=LinkKind.ABORTED, accepted=0, model_digest=LINK.base_model)
    second = world.ledger.seal(aborted, first.round_hash)
    assert world.ledger.head_slot(RUN) == head_slot(2, second.round_hash, closed=False)
    closing = replace(aborted, round=3, kind=LinkKind.CLOSED)
    third = world.ledger.seal(closing, second.round_hash)
    assert world.ledger.head_slot(RUN) == head_slot(3, third.round_hash, closed=True)


def test_sealing_the_same_link_twice_returns_the_first_seal(world: World) -> None:
    first = world.ledger.seal(LINK, ZERO)
    second = world.ledger.seal(replace(LINK, round=2), first.round_hash)
    assert world.ledger.seal(LINK, ZERO) == first
    assert world.ledger.seal(replace(LINK, round=2), first.round_hash) == second
    assert len(world.ledger.events()) == 2


def test_another_link_for_a_sealed_round_is_refused(world: World) -> None:
    world.ledger.seal(LINK, ZERO)
    with pytest.raises(RejectedTransactionError):
        world.ledger.seal(replace(LINK, model_digest=b"\x99" * 32), ZERO)
    assert len(world.ledger.events()) == 1


@pytest.mark.parametrize(
    ("round_", "previous_hash"), [(2, b"\x07" * 32), (2, ZERO), (3, None), (0, ZERO), (1, b"\x07" * 32)]
)
def test_a_link_that_does_not_follow_the_head_is_refused(
    world: World, round_: int, previous_hash: bytes | None
) -> None:
    run = RUN
    if round_ > 1:
        first = world.ledger.seal(LINK, ZERO)
        previous_hash = first.round_hash if previous_hash is None else previous_hash
    else:
        run = OTHER_RUN
    assert previous_hash is not None
    with pytest.raises(RejectedTransactionError):
        world.ledger.seal(replace(LINK, run=run, round=round_), previous_hash)


def test_a_closed_run_takes_no_further_link(world: World) -> None:
    closing = replace(LINK, kind=LinkKind.CLOSED, accepted=0, model_digest=LINK.base_model)
    closed = world.ledger.seal(closing, ZERO)
    for kind in LinkKind:
        with pytest.raises(RejectedTransactionError):
            world.ledger.seal(replace(closing, round=2, kind=kind), closed.round_hash)
    assert len(world.ledger.events()) == 1


@pytest.mark.parametrize("kind", [LinkKind.ABORTED, LinkKind.CLOSED])
def test_only_a_sealed_round_changes_the_model_or_accepts_updates(world: World, kind: LinkKind) -> None:
    unchanged = replace(LINK, kind=kind, accepted=0, model_digest=LINK.base_model)
    for wrong in (replace(unchanged, accepted=1), replace(unchanged, model_digest=b"\x99" * 32)):
        with pytest.raises(RejectedTransactionError):
            world.ledger.seal(wrong, ZERO)
    world.ledger.seal(unchanged, ZERO)


def test_only_the_aggregator_seals(world: World) -> None:
    with pytest.raises(RejectedTransactionError):
        world.as_stranger.seal(LINK, ZERO)
    assert list(world.ledger.events()) == []


def test_runs_do_not_share_a_head(world: World) -> None:
    first = world.ledger.seal(LINK, ZERO)
    other = world.ledger.seal(replace(LINK, run=OTHER_RUN), ZERO)
    assert first.round_hash != other.round_hash
    world.ledger.seal(replace(LINK, round=2), first.round_hash)
    assert world.ledger.head_slot(OTHER_RUN) == head_slot(1, other.round_hash, closed=False)
    assert world.ledger.find(OTHER_RUN, 2) is None


def test_a_registry_action_changes_the_next_round_hash_only(world: World) -> None:
    first = world.ledger.seal(LINK, ZERO)
    before = world.context(first.round_hash)
    world.populate()
    link = replace(LINK, round=2)
    second = world.ledger.seal(link, first.round_hash)
    assert second.round_hash == round_hash(link, world.context(first.round_hash))
    assert second.round_hash != round_hash(link, before)
    found = world.ledger.find(RUN, 1)
    assert found is not None
    assert found.round_hash == first.round_hash


# the registry


def test_nonces_start_at_one_and_count_the_actions_of_one_organisation(world: World) -> None:
    world.operator.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    world.populate()
    assert world.relayer.nonce(ORGANISATION) == 4
    assert world.relayer.nonce(OTHER_ORGANISATION) == 1


@pytest.mark.parametrize("nonce", [0, 2, 2**64 - 1])
def test_a_message_with_another_nonce_than_the_next_is_refused(world: World, nonce: int) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    with pytest.raises(RejectedTransactionError):
        world.submit(replace(REGISTER_DEVICE, nonce=nonce))


def test_a_message_is_taken_once(world: World) -> None:
    world.populate()
    head = world.ledger.registry_head()
    for message in (REGISTER_DEVICE, REGISTER_DATASET, GRANT):
        with pytest.raises(RejectedTransactionError):
            world.submit(message)
    assert world.ledger.registry_head() == head


def test_an_organisation_is_added_once_and_by_the_operator(world: World) -> None:
    for sender in (world.relayer, world.site):
        with pytest.raises(RejectedTransactionError):
            sender.add_organisation(ORGANISATION, SITE.address)
    world.operator.add_organisation(ORGANISATION, SITE.address)
    with pytest.raises(RejectedTransactionError):
        world.operator.add_organisation(ORGANISATION, OTHER_SITE.address)


def test_the_operator_cannot_be_spoken_for_by_a_message(world: World) -> None:
    with pytest.raises(RejectedTransactionError):
        world.submit(AddOrganisation(ORGANISATION, SITE.address, 0), OPERATOR)


def test_nobody_acts_for_a_site_but_its_admin(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    world.operator.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    for other in (OPERATOR, AGGREGATOR, OTHER_SITE, STRANGER):
        with pytest.raises(RejectedTransactionError):
            world.submit(REGISTER_DEVICE, other)
    assert world.relayer.nonce(ORGANISATION) == 1


def test_an_unsigned_message_is_taken_from_its_admin_only(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    for sender in (world.relayer, world.operator):
        with pytest.raises(RejectedTransactionError):
            sender.submit(world.device(), b"")
    world.site.submit(world.device(), b"")
    event = world.ledger.events()[-1]
    assert isinstance(event, RegistryEvent)
    assert (event.message, event.signature) == (world.device(), b"")


def test_a_device_that_does_not_say_itself_whose_it_is_is_refused(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    for wrong in (b"", STRANGER.sign(bytes(32)), bytes(65)):
        message = replace(REGISTER_DEVICE, possession=wrong)
        with pytest.raises(RejectedTransactionError):
            world.relayer.submit(message, SITE.sign(signing_digest(world.identity.registry, message)))
    assert len(world.ledger.events()) == 1


def test_an_administration_goes_to_another_key_and_does_not_come_back_by_itself(world: World) -> None:
    world.populate()
    world.submit(RotateAdmin(ORGANISATION, OTHER_SITE.address, b"", 4))
    withdrawal = ConsentWithdraw(DATASET, world.clock.now(), 2, 5)
    with pytest.raises(RejectedTransactionError):
        world.submit(withdrawal)
    world.submit(withdrawal, OTHER_SITE)
    kinds = [type(event.message) for event in world.ledger.events() if isinstance(event, RegistryEvent)]
    assert kinds[-2:] == [RotateAdmin, ConsentWithdraw]


def test_a_message_of_an_unknown_organisation_is_refused(world: World) -> None:
    with pytest.raises(RejectedTransactionError):
        world.submit(REGISTER_DEVICE)


def test_a_device_key_is_registered_once_for_ever(world: World) -> None:
    world.populate()
    world.operator.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    again = replace(REGISTER_DEVICE, nonce=4)
    elsewhere = replace(REGISTER_DEVICE, organisation=OTHER_ORGANISATION, nonce=1)
    for revoked in (False, True):
        if revoked:
            world.submit(RevokeDevice(DEVICE, world.clock.now(), 4))
            again = replace(again, nonce=5)
        with pytest.raises(RejectedTransactionError):
            world.submit(again)
        with pytest.raises(RejectedTransactionError):
            world.submit(elsewhere, OTHER_SITE)


def test_a_revocation_never_moves(world: World) -> None:
    world.populate()
    world.submit(RevokeDevice(DEVICE, world.clock.now() + 500, 4))
    for at in (world.clock.now(), world.clock.now() + 100, world.clock.now() + 900):
        with pytest.raises(RejectedTransactionError):
            world.submit(RevokeDevice(DEVICE, at, 5))


def test_a_grant_must_fit_federation_dataset_and_window(world: World) -> None:
    world.populate()
    grant = replace(GRANT, nonce=4)
    for wrong in (
        replace(grant, federation=b"\x77" * 32),
        replace(grant, nominal_size=304),
        replace(grant, dataset=b"\x78" * 32),
        replace(grant, until=grant.from_),
    ):
        with pytest.raises(RejectedTransactionError):
            world.submit(wrong)
    world.submit(grant)


def test_a_withdrawal_is_final_until_a_new_grant(world: World) -> None:
    world.populate()
    world.submit(ConsentWithdraw(DATASET, world.clock.now(), 1, 4))
    with pytest.raises(RejectedTransactionError):
        world.submit(ConsentWithdraw(DATASET, world.clock.now() + 50, 1, 5))
    world.submit(replace(GRANT, nonce=5))
    world.submit(ConsentWithdraw(DATASET, world.clock.now(), 1, 6))


def test_a_withdrawal_needs_a_grant(world: World) -> None:
    world.operator.add_organisation(ORGANISATION, SITE.address)
    world.submit(replace(REGISTER_DATASET, nonce=1))
    with pytest.raises(RejectedTransactionError):
        world.submit(ConsentWithdraw(DATASET, world.clock.now(), 1, 2))


def test_a_foreign_admin_cannot_touch_device_dataset_or_consent(world: World) -> None:
    world.populate()
    world.operator.add_organisation(OTHER_ORGANISATION, OTHER_SITE.address)
    head = world.ledger.registry_head()
    now = world.clock.now()
    for nonce in (1, 4):
        for message in (
            RevokeDevice(DEVICE, now, nonce), ConsentWithdraw(DATASET, now, 1, nonce), replace(GRANT, nonce=nonce),
        ):  # fmt: skip
            with pytest.raises(RejectedTransactionError):
                world.submit(message, OTHER_SITE)
    assert world.ledger.registry_head() == head
