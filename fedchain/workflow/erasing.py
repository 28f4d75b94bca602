"""Erasing the payloads of a round: keys first, at every holder, then receipts, then the ciphertext.

The order is journaled before anything is destroyed and every step can be repeated, so an erasure that was killed
anywhere is finished by the next one. Nothing here can undo what a model has learned from the updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from fedchain.core.cid import Cid
from fedchain.core.eip712 import signing_digest
from fedchain.core.erasure import DeletionReceipt, ErasedPayload, ErasureOrder, SignedDeletion, least_erased
from fedchain.core.errors import InputError, PolicyError
from fedchain.ports.erasure import ErasureJournal, KeyHolder
from fedchain.ports.ledger import LedgerIdentity
from fedchain.ports.store import ArtifactStore
from fedchain.workflow.run_state import Accepted, RunState


@dataclass(frozen=True, slots=True)
class Erased:
    """What was erased: the orders that were carried out, unfinished ones of before included, and all their receipts."""

    orders: tuple[ErasureOrder, ...]
    receipts: tuple[SignedDeletion, ...]


@dataclass(frozen=True, slots=True)
class EraseRequest:
    """What the user wants erased of a run (hex): rounds, and the names of clients, none for whole rounds."""

    run: str
    rounds: tuple[int, ...]
    clients: tuple[str, ...]
    reason: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants erased: of one round all updates, or those of the named clients; `at` in seconds."""

    round: int
    clients: Set[bytes]
    reason: int
    at: int


@dataclass(frozen=True, slots=True)
class Eraser:
    """Carries orders out; `hold_on` says why what an order names may not be erased now, or nothing."""

    identity: LedgerIdentity
    journal: ErasureJournal
    store: ArtifactStore
    holders: Sequence[KeyHolder]
    hold_on: Callable[[ErasureOrder], str | None]

    def erase(self, order: ErasureOrder) -> tuple[SignedDeletion, ...]:
        """Erase what an order names; return its receipts.

        Raises:
            PolicyError: if some of it is held as evidence; nothing is erased then.
            InputError: if a key, a receipt or an artifact cannot be written or removed; repeating it goes on.
        """
        why = self.hold_on(order)
        if why is not None:
            raise PolicyError(f"the evidence of round {order.round} is held", got=why, remedy="end the hold first")
        self.journal.begin(order)
        return self._carry_out(order)

    def resume(self) -> tuple[ErasureOrder, ...]:
        """Finish every order that was begun and not finished; return them."""
        orders = tuple(self.journal.unfinished())
        for each in orders:
            self._carry_out(each)
        return orders

    def _carry_out(self, order: ErasureOrder) -> tuple[SignedDeletion, ...]:
        cids = [Cid.parse(each.cid) for each in order.payloads]
        for holder in self.holders:
            held = [cid for cid in cids if holder.has_held(cid)]
            holder.erase(held)
            for cid in held:
                self.journal.keep(self._receipt(holder, order, cid))
        for cid in cids:
            self.store.remove(cid)
        self.journal.finish(order)
        wanted = {cid.digest for cid in cids}
        return tuple(each for each in self.journal.receipts() if each.receipt.payload_cid in wanted)

    def _receipt(self, holder: KeyHolder, order: ErasureOrder, cid: Cid) -> SignedDeletion:
        receipt = DeletionReceipt(
            self.identity.federation, order.run, order.round, cid.digest, holder.reader, order.reason, order.at
        )
        signature = holder.signer.sign(signing_digest(self.identity.rounds, receipt))
        return SignedDeletion(receipt, holder.signer.address, signature)


def order_of(state: RunState, wish: Wish, min_clients: int, erased: Callable[[Cid], bool]) -> ErasureOrder:
    """Return the order that erases a sealed round of a run, or some of its updates.

    Raises:
        InputError: if the round is not sealed yet, or a client has no update in it.
        PolicyError: if so few updates were erased that each of them could be computed from the others.
    """
    if state.planned is None or wish.round not in state.sealed:
        sealed = ", ".join(str(each) for each in sorted(state.sealed)) or "none"
        raise InputError("--round", expected=f"a sealed round of this run ({sealed})", got=wish.round)
    accepted = state.decided[wish.round].accepted
    strangers = wish.clients - {each.signer for each in accepted}
    if strangers:
        raise InputError(
            f"no update of 0x{min(strangers).hex()} is in round {wish.round}", remedy="`fedchain lineage` shows who is"
        )
    chosen = [each for each in accepted if not wish.clients or each.signer in wish.clients]
    _check_subtraction(accepted, chosen, least_erased(min_clients), erased)
    payloads = tuple(ErasedPayload(each.payload_cid, each.signer) for each in chosen)
    return ErasureOrder(state.planned.run, wish.round, payloads, wish.reason, wish.at)


def _check_subtraction(
    accepted: Sequence[Accepted], chosen: Sequence[Accepted], least: int, erased: Callable[[Cid], bool]
) -> None:
    """Refuse to leave so few updates unknown that the models of the round give them away."""
    known = [each for each in accepted if each not in chosen and not erased(Cid.parse(each.payload_cid))]
    unknown = len(accepted) - len(known)
    if known and unknown < least:
        raise PolicyError(
            f"{unknown} erased of {len(accepted)} updates would hide nothing: aggregation is exact, so what is erased"
            " is the difference of the round's two models, less the updates that are left",
            expected=f"at least {least} clients, or the whole round", got=unknown,
            remedy="name more clients, or none to erase the whole round",
        )  # fmt: skip
