"""What the ledger keeps of a round: one link of the run's hash chain, and the leaves beneath its two roots.

The hashes are the ones that `contracts/src/RoundLedger.sol` computes; both sides share tests/vectors/record.json.
"""

from __future__ import annotations

import enum
import functools
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from fedchain.core.abi import words
from fedchain.core.digest import Digest
from fedchain.core.eip712 import Domain, TypedMessage, struct_hash
from fedchain.core.merkle import leaf_hash

_LINK_KINDS: Final = [
    "uint256", "address", "bytes32", "bytes32", "uint64", "uint8", "bytes32", "bytes32",
    "bytes32", "bytes32", "bytes32", "bytes32", "bytes32", "uint32", "uint32",
]  # fmt: skip

_CLOSED: Final = b"closed"
_STRING: Final = ("uint256", "uint256", "bytes32")
"""A string of at most 32 bytes after two other members: where it stands, its length, and its bytes."""


class LinkKind(enum.IntEnum):
    """How a round ended: sealed with a new model, aborted with the old one, or the run was closed."""

    SEALED = 1
    ABORTED = 2
    CLOSED = 3


@dataclass(frozen=True, slots=True)
class RoundLink:
    """The content of one link; `accepted` and `rejected` are the leaf counts of the two trees."""

    run: bytes
    round: int
    kind: LinkKind
    updates_root: bytes
    rejected_root: bytes
    base_model: bytes
    model_digest: bytes
    manifest_digest: bytes
    accepted: int
    rejected: int


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What a link's hash binds besides its content: the ledger's domain, the federation and both earlier heads."""

    domain: Domain
    federation: bytes
    previous_hash: bytes
    registry_head: bytes


@functools.lru_cache(maxsize=16)  # the sites of a simulation all compute the same one
def round_hash(link: RoundLink, context: LinkContext) -> Digest:
    """Return the round hash, keccak256 over the ABI encoding of context and content.

    Raises:
        FormatError: if a member does not fit its Solidity type.
    """
    return keccak(
        words(
            _LINK_KINDS,
            [
                context.domain.chain_id, context.domain.contract, context.federation, link.run, link.round,
                int(link.kind), context.previous_hash, context.registry_head, link.updates_root, link.rejected_root,
                link.base_model, link.model_digest, link.manifest_digest, link.accepted, link.rejected,
            ],
        )
    )  # fmt: skip


def head_slot(round_: int, hash_: Digest, *, closed: bool) -> Digest:
    """Return the value of a run's one storage slot after a link."""
    if closed:
        return keccak(
            words(["uint64", "bytes32", *_STRING], [round_, hash_, 96, len(_CLOSED), _CLOSED.ljust(32, b"\0")])
        )
    return keccak(words(["uint64", "bytes32"], [round_, hash_]))


def next_registry_head(head: Digest, message: TypedMessage, at: int) -> Digest:
    """Return the registry's rolling hash after an action taken at block time `at` (seconds)."""
    return keccak(words(["bytes32", "bytes32", "uint64"], [head, struct_hash(message), at]))


@dataclass(frozen=True, slots=True)
class UpdateLeaf:
    """An accepted update: its signer, the EIP-712 digest and the signature's keccak256, and the payload's codec."""

    signer: bytes
    message_digest: bytes
    signature_digest: bytes
    payload_codec: int

    @classmethod
    def of(cls, signer: bytes, message_digest: Digest, signature: bytes, payload_codec: int) -> UpdateLeaf:
        """Return the leaf of a signed message."""
        return cls(signer, message_digest, keccak(signature), payload_codec)

    def hash(self) -> Digest:
        """Return the leaf hash; the first word 1 names the leaf type."""
        return leaf_hash(
            ["uint8", "address", "bytes32", "bytes32", "uint64"],
            [1, self.signer, self.message_digest, self.signature_digest, self.payload_codec],
        )


@dataclass(frozen=True, slots=True)
class RejectedLeaf:
    """A rejected reply: its reason, the sha2-256 CID digest of the reply's bytes, and whom it is attributed to.

    `signer` is zero where no valid signature came; then only the transport's node is named.
    """

    reason: int
    round: int
    signer: bytes
    node: int
    evidence: bytes

    def hash(self) -> Digest:
        """Return the leaf hash; the first word 2 names the leaf type."""
        return leaf_hash(
            ["uint8", "uint16", "uint64", "address", "uint64", "bytes32"],
            [2, self.reason, self.round, self.signer, self.node, self.evidence],
        )
