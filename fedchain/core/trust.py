"""The trust file: heads and keys that a reviewer holds from elsewhere, to pin a verification against.

A run in simulation writes one from the receipts that each hospital's own key signed. All keys lie on one machine
then, so the independence is simulated, and the file says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

TRUST_FORMAT: Final = "fedchain/trust/1"
SIMULATED: Final = "simulated independence: every key of this file was made on one machine"


@dataclass(frozen=True, slots=True)
class SignedReceipt:
    """A site's RoundReceipt over the pin's round hash: the site's device address and its signature."""

    signer: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Pin:
    """A round hash known from elsewhere, with the receipts that vouch for it."""

    run: bytes
    round: int
    round_hash: bytes
    receipts: tuple[SignedReceipt, ...]


@dataclass(frozen=True, slots=True)
class TrustFile:
    """Whom and what a verifier trusts: one ledger, the keys of the sites, and pinned heads."""

    format: str
    note: str
    chain_id: int
    registry_contract: bytes
    rounds_contract: bytes
    federation: bytes
    keys: tuple[bytes, ...]
    pins: tuple[Pin, ...]
