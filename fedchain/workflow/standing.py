"""How a ledger stands: the values behind `fedchain ledger status` and `fedchain ledger prove`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedchain.ports.roles import Role


@dataclass(frozen=True, slots=True)
class Lead:
    """Who may seal on a chain, under which fence; paused until this second since 1970, 0 for never."""

    aggregator: bytes
    fence: int
    paused_until: int


@dataclass(frozen=True, slots=True)
class SignedHead:
    """The last tree head of a log: its size in entries, its root, its second."""

    size: int
    root: bytes
    at: int


@dataclass(frozen=True, slots=True)
class RunStanding:
    """A run's last link on the ledger, and the slot that the ledger keeps for the run."""

    run: bytes
    round: int
    is_closed: bool
    round_hash: bytes
    slot: bytes


@dataclass(frozen=True, slots=True)
class LedgerStanding:
    """A home's ledger; a chain has a lead and holders of its roles, a log has a tree head."""

    kind: str
    chain_id: int
    registry_contract: bytes
    rounds_contract: bytes
    federation: bytes
    registry_head: bytes
    runs: tuple[RunStanding, ...]
    lead: Lead | None
    holders: Mapping[Role, tuple[bytes, ...]] | None
    tree_head: SignedHead | None


@dataclass(frozen=True, slots=True)
class HeadProof:
    """A run's slot as it was proved against a block, and whether the hash of that block came from elsewhere."""

    contract: bytes
    slot_key: bytes
    slot: bytes
    block: int
    block_hash: bytes
    is_pinned: bool
