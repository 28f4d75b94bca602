"""What sealing a link that is on the ledger already means, whatever the ledger is made of: the same one is found."""

from __future__ import annotations

from fedchain.core.errors import RejectedTransactionError
from fedchain.core.record import RoundLink
from fedchain.ports.ledger import LinkEvent, Seal


def seal_of(found: LinkEvent, link: RoundLink, previous_hash: bytes) -> Seal:
    """Return where a link stands, as it was found in its place.

    Raises:
        RejectedTransactionError: if another link has its place.
    """
    if (found.link, found.previous_hash) != (link, previous_hash):
        raise RejectedTransactionError(
            f"round {link.round} is taken by another link",
            expected=f"model 0x{link.model_digest.hex()} after 0x{previous_hash.hex()}",
            got=f"model 0x{found.link.model_digest.hex()} after 0x{found.previous_hash.hex()}",
        )
    return Seal(found.round_hash, found.transaction)
