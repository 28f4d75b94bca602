"""What a site of this home does with its own registry entry: decided, told, signed with its admin key, and sent.

A simulated federation's operator relays, who pays for the transaction; `is_direct` sends it from the site's own key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from fedchain.adapters.evm.chain import EmbeddedChain, Genesis
from fedchain.adapters.evm.deployment import check_identity, embedded_node
from fedchain.adapters.evm.ledger import EvmLedger, EvmRegistry
from fedchain.adapters.evm.opening import open_chain
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.keys import FileSigner, key_path, make_successor, read_device, read_signer, succeed
from fedchain.adapters.log.file import LogWriter
from fedchain.adapters.log.ledger import LogLedger, LogRegistry
from fedchain.adapters.system import SystemClock, SystemEntropy
from fedchain.core.digest import hex32
from fedchain.core.eip712 import signing_digest
from fedchain.core.errors import InputError
from fedchain.core.messages import KeyPossession
from fedchain.core.registry import RegistryState
from fedchain.ports.ledger import LedgerIdentity
from fedchain.wiring.nodes import written_node
from fedchain.wiring.organisations import keep_organisation, names_of_organisations, organisation_of
from fedchain.wiring.parties import (
    Record,
    config_of,
    nothing_is_left,
    parties_of,
    read_ledger,
    site_names,
    written_ledger,
)
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
from fedchain.workflow.registered import organisations_of
from fedchain.workflow.registry_entries import Act, Done, Order, RegistryOverview, Request
from fedchain.workflow.registry_view import RegistryView

Role: TypeAlias = Literal["site", "device"]


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where one site acts: its key and organisation, and the ledger for writing."""

    home: Home
    request: Request
    admin: FileSigner
    organisation: bytes
    record: Record

    def identity(self) -> LedgerIdentity:
        return self.record.ledger.identity()

    def possessed(self, key: FileSigner) -> NewKey:
        statement = KeyPossession(self.organisation, key.address)
        return NewKey(key.address, key.sign(signing_digest(self.identity().registry, statement)))

    def send(self, messages: Sequence[Act]) -> tuple[Done, ...]:
        """Tell all, then sign and send one after the other; the ledger has each before the next is signed."""
        first = self.record.registry.nonce(self.organisation)
        request, admin, domain = self.request, self.admin, self.identity().registry
        orders = [Order(request.site, admin.address, each, request.is_direct) for each in numbered(messages, first)]
        if orders:
            request.announce(orders)
        submit = self.record.registry.submit
        return tuple(
            Done(each, submit(each.message, admin.sign(signing_digest(domain, each.message)))) for each in orders
        )


def overview(home: Path) -> RegistryOverview:
    """Return what the registry of a home's ledger holds.

    Raises:
        InputError: if the home has no ledger.
        IntegrityError: if the events do not lead to the registry's head, or a signature is wrong.
    """
    opened = open_home(home)
    with read_ledger(opened) as ledger:
        head, organisations = organisations_of(ledger)
    return RegistryOverview(head, organisations, names_of_organisations(opened))


def withdraw(home: Path, request: Request, reason: int) -> tuple[Done, ...]:
    """Withdraw a site's consent, for one dataset or all of its own.

    Raises:
        InputError: if the site is unknown, or nothing is left to withdraw.
    """
    with _desk(home, request) as desk:
        state = _administered(desk)
        return desk.send(withdrawals(state, desk.organisation, reason, SystemClock().now(), request.dataset))


def grant(home: Path, request: Request) -> tuple[Done, ...]:
    """Renew a site's last consent for a year.

    Raises:
        InputError: if the site is unknown, there was no consent, or several datasets have one and none is named.
    """
    with _desk(home, request) as desk:
        state = _administered(desk)
        return desk.send(renewals(state, desk.organisation, SystemClock().now(), request.dataset))


def revoke_device(home: Path, request: Request) -> tuple[Done, ...]:
    """Revoke the device key that a site signs its updates with.

    Raises:
        InputError: if the site is unknown, or the key is revoked already.
    """
    with _desk(home, request) as desk:
        state, device = _administered(desk), read_device(key_path(desk.home.keys, "device", request.site))
        return desk.send(revocation(state, device.address, SystemClock().now()))


def rotate_device(home: Path, request: Request) -> tuple[Done, ...]:
    """Revoke a site's device key and register a fresh one; one that was interrupted is finished.

    Raises:
        InputError: if the site is unknown.
    """
    with _desk(home, request) as desk:
        state, keys = _administered(desk), desk.home.keys
        old = read_signer(key_path(keys, "device", request.site))
        new = _successor(desk, "device", old)
        if new is None:
            return ()
        now = SystemClock().now()
        messages = device_rotation(state, desk.organisation, old.address, desk.possessed(new), now)
        done = desk.send(messages)
        succeed(keys, "device", request.site)
        return done


def rotate_admin(home: Path, request: Request) -> tuple[Done, ...]:
    """Hand a site's administration to a fresh key; one that was interrupted is finished.

    The old key's file is replaced only after the ledger has the new one, and its content is kept.

    Raises:
        InputError: if the site is unknown, or the registry has an admin whose key is not here.
    """
    with _desk(home, request) as desk:
        state = _registered(desk)
        keep_organisation(desk.home, request.site, desk.organisation)
        new = _successor(desk, "site", desk.admin)
        if new is None:
            return ()
        done = desk.send(admin_rotation(state, desk.organisation, desk.admin.address, desk.possessed(new)))
        succeed(desk.home.keys, "site", request.site)
        return done


def _administered(desk: _Desk) -> RegistryState:
    state = _registered(desk)
    check_admin(state, desk.organisation, desk.admin.address)
    return state


def _registered(desk: _Desk) -> RegistryState:
    """Return the registry's state, in which the site's organisation stands.

    Raises:
        InputError: if it does not, or the key files of two sites were mixed up, so that one would act as the other.
    """
    state = RegistryView(desk.record.ledger).current()
    check_registered(state, desk.organisation)
    device = state.devices.get(read_device(key_path(desk.home.keys, "device", desk.request.site)).address)
    if device is not None and device.organisation != desk.organisation:
        raise InputError(
            f"{desk.request.site}'s admin key is another organisation's than its device key",
            expected=hex32(device.organisation), got=hex32(desk.organisation), remedy="restore the key files",
        )  # fmt: skip
    return state


def _successor(desk: _Desk, role: Role, old: FileSigner) -> FileSigner | None:
    """Return the key that follows `old`; None if it did already and only its file was left behind."""
    keys, site = desk.home.keys, desk.request.site
    new = make_successor(keys, role, site, SystemEntropy())
    if new.address == old.address:
        succeed(keys, role, site)
        return None
    return new


@contextmanager
def _desk(home: Path, request: Request) -> Iterator[_Desk]:
    opened = open_home(home)
    with locked(opened):
        with read_ledger(opened) as ledger:
            identity = ledger.identity()
        admin = _admin(opened, request.site)
        organisation = organisation_of(opened, request.site, admin.address)
        with _sent_by(opened, identity, admin if request.is_direct else None) as record:
            yield _Desk(opened, request, admin, organisation, record)


def _admin(home: Home, site: str) -> FileSigner:
    known = [each for each in site_names(home) if key_path(home.keys, "site", each).exists()]
    if site not in known:
        raise InputError("SITE", expected=f"one of {', '.join(known) or 'none'}", got=repr(site)[:80])
    return read_signer(key_path(home.keys, "site", site))


@contextmanager
def _sent_by(home: Home, identity: LedgerIdentity, sender: FileSigner | None) -> Iterator[Record]:
    """Open the ledger for writing as a sender; without one the operator relays."""
    config = config_of(home)
    if sender is None:
        with written_ledger(home, parties_of(home), config) as record:
            yield record
    elif config.node is not None:
        with written_node(home, config.chain_id, config.node) as node:
            check_identity(node, identity)
            yield Record(EvmLedger(node, identity), EvmRegistry(node, identity, sender), nothing_is_left)
    elif config.name == "log":
        log_key = read_signer(key_path(home.keys, "log", "simulated"))
        with closing(LogWriter(home.log, log_key, SystemClock())) as log:
            yield Record(LogLedger(log), LogRegistry(log, sender), nothing_is_left)
    else:
        clock = SystemClock()
        with closing(open_chain(home.chain, Genesis(identity.chain_id, clock.now(), ()), clock)) as chain:
            _check_funds(chain, sender)
            node = embedded_node(chain)
            check_identity(node, identity)
            yield Record(EvmLedger(node, identity), EvmRegistry(node, identity, sender), nothing_is_left)


def _check_funds(chain: EmbeddedChain, sender: FileSigner) -> None:
    if not chain.balance(sender.address, None):
        raise InputError(
            "the site's key holds no coins to pay for a transaction", got=f"0 of {hex32(sender.address)}",
            remedy="leave out --direct: the message is relayed, and its authority is the signature all the same",
        )  # fmt: skip
