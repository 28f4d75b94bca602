"""What was sealed and is not on the ledger any more is sealed again, in order: a ledger may lose its newest end."""

from __future__ import annotations

from fedchain.core.digest import ZERO
from fedchain.core.errors import IntegrityError
from fedchain.core.record import LinkKind, head_slot
from fedchain.ports.ledger import Ledger
from fedchain.workflow.run_state import RunState


def reseal(ledger: Ledger, state: RunState) -> None:
    """Make sure that the ledger's head of a run is the last link that this run has sealed.

    Raises:
        IntegrityError: if a link cannot come back as the one that was acknowledged.
        RejectedTransactionError: if the ledger refuses it.
        UnreachableError: if the ledger does not answer.
    """
    if not state.sealed:
        return
    last = max(state.sealed)
    link = state.decided[last].link
    head = head_slot(last, state.sealed[last].round_hash, closed=link.kind is LinkKind.CLOSED)
    if ledger.head_slot(link.run) == head:
        return
    previous_hash = ZERO
    for number in sorted(state.sealed):
        sealed = state.sealed[number]
        found = ledger.seal(state.decided[number].link, previous_hash).round_hash
        if found != sealed.round_hash:
            raise IntegrityError(
                f"round {number} came back to the ledger as another one",
                expected=f"0x{sealed.round_hash.hex()}", got=f"0x{found.hex()}",
                remedy="the registry changed meanwhile; choose more confirmations for this ledger",
            )  # fmt: skip
        previous_hash = sealed.round_hash
