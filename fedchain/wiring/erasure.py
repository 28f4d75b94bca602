"""Erasing in a home: every reader whose ring lies here destroys its keys and signs, the sites with their device keys.

In a simulation all readers lie under one home. In a federation each holder erases in its own, and the receipts meet at
the aggregator; what other people copied out of the store stays ciphertext without a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedchain.adapters.cipher import Opener
from fedchain.adapters.erasure_files import ErasureFiles
from fedchain.adapters.home import Home, locked, open_home
from fedchain.adapters.journal_file import read_journal
from fedchain.adapters.keyring import KeyRing
from fedchain.adapters.keys import key_path, read_device, read_secret
from fedchain.adapters.retention_files import read_holds
from fedchain.adapters.system import SystemClock
from fedchain.core import document
from fedchain.core.cid import Cid
from fedchain.core.erasure import ErasureOrder
from fedchain.core.errors import InputError
from fedchain.core.manifest import RunManifest
from fedchain.ports.erasure import KeyHolder
from fedchain.ports.signer import Signer
from fedchain.wiring.confidential import HOLDERS, SIMULATED, SITE_ROLE, open_artifacts, ring_of, role_of, site_ring
from fedchain.wiring.parties import parties_of, read_ledger, site_names
from fedchain.workflow.erasing import Erased, Eraser, EraseRequest, Wish, order_of
from fedchain.workflow.run_state import RunState


@dataclass(frozen=True, slots=True)
class RingHolder:
    """A KeyHolder whose ring lies in this home."""

    reader: bytes
    signer: Signer
    ring: KeyRing

    def has_held(self, cid: Cid) -> bool:
        """See KeyHolder."""
        return self.ring.is_erased(cid) or self.ring.find(cid) is not None

    def erase(self, cids: Sequence[Cid]) -> None:
        """See KeyHolder."""
        if cids:
            self.ring.erase(cids)


def erase(home: Path, request: EraseRequest) -> Erased:
    """Erase payloads of a run, after finishing what was begun before.

    Raises:
        InputError: if the home, the run, a round or a client is unknown, or something cannot be written.
        PolicyError: if too few updates are asked for, or they are held as evidence.
    """
    opened = open_home(home)
    with locked(opened):
        eraser = _eraser(opened)
        finished = eraser.resume()
        orders = _orders(opened, request)
        for order in orders:
            eraser.erase(order)
        everything = (*finished, *orders)
        cids = {Cid.parse(each.cid).digest for order in everything for each in order.payloads}
        receipts = [each for each in eraser.journal.receipts() if each.receipt.payload_cid in cids]
        return Erased(everything, tuple(receipts))


def hold_on(home: Home, order: ErasureOrder) -> str | None:
    """Return why what an order names must be kept, or None: a held model needs every round of its run up to it."""
    for each in read_holds(home):
        if each.is_held and each.run == order.run and each.round >= order.round:
            return f"a hold on the model of round {each.round}"
    return None


def _eraser(home: Home) -> Eraser:
    with read_ledger(home) as ledger:
        identity = ledger.identity()
    journal = ErasureFiles(home.erasures)
    inner = open_artifacts(home).inner
    return Eraser(identity, journal, inner, _holders(home), lambda order: hold_on(home, order))


def _holders(home: Home) -> list[KeyHolder]:
    holders: list[KeyHolder] = []
    for site in site_names(home):
        path = key_path(home.keys, SITE_ROLE, site)
        if path.exists():
            device = read_device(key_path(home.keys, "device", site))
            holders.append(RingHolder(Opener.of(read_secret(path)).recipient, device, site_ring(home, site)))
    aggregator = parties_of(home).aggregator
    for holder in HOLDERS:
        path = key_path(home.keys, role_of(holder), SIMULATED)
        if path.exists():
            holders.append(RingHolder(Opener.of(read_secret(path)).recipient, aggregator, ring_of(home, holder)))
    return holders


def _orders(home: Home, request: EraseRequest) -> tuple[ErasureOrder, ...]:
    journal = home.journal(request.run.removeprefix("0x"))
    if not journal.exists():
        raise InputError("RUN", expected="a run of this home", got=request.run[:80])
    state = RunState.replay(read_journal(journal))
    if state.planned is None:
        raise InputError("RUN", expected="a run that was begun", got=request.run[:80])
    store, ring = open_artifacts(home, "aggregator"), ring_of(home, "aggregator")
    manifest = document.from_bytes(RunManifest, store.get(Cid.parse(state.planned.manifest_cid)))
    clients, now = frozenset(_device(home, name) for name in request.clients), SystemClock().now()
    wishes = [Wish(number, clients, request.reason, now) for number in request.rounds]
    return tuple(order_of(state, wish, manifest.min_clients, ring.is_erased) for wish in wishes)


def _device(home: Home, name: str) -> bytes:
    path = key_path(home.keys, "device", name)
    if not path.exists():
        known = ", ".join(site_names(home)) or "none"
        raise InputError("--client", expected=f"one of {known}", got=name[:80])
    return read_device(path).address
