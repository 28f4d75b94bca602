"""Versions of a model: their names, states and edges, and the votes of reviewers, as ModelRegistry.sol has them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from eth_abi.abi import encode
from eth_hash.auto import keccak

from fedchain.core.digest import Digest, tagged
from fedchain.core.eip712 import Domain
from fedchain.core.merkle import MerkleTree, leaf_hash
from fedchain.core.record import RoundLink

_VERSION = "(bytes32,bytes32,bytes32,bytes32,bytes32,(bytes32,uint8)[])"


class VersionState(enum.IntEnum):
    """Where a version stands between its submission and its end."""

    UNKNOWN = 0
    DRAFT = 1
    CANDIDATE = 2
    IN_REVIEW = 3
    APPROVED = 4
    DEPLOYED = 5
    SUSPENDED = 6
    REVOKED = 7
    SUPERSEDED = 8
    TAINTED = 9

    @property
    def words(self) -> str:
        """As it is shown: "in review"."""
        return self.name.lower().replace("_", " ")


class EdgeKind(enum.IntEnum):
    """How a version came from its parent."""

    ROUND = 1
    MERGE = 2
    FINE_TUNE = 3
    QUANTIZE = 4
    IMPORT = 5
    ROLLBACK = 6
    UNLEARN = 7


class Decision(enum.IntEnum):
    """What reviewers decide about a version; a suspension takes one of them, the others a quorum."""

    APPROVE = 1
    SEND_BACK = 2
    SUSPEND = 3
    REVOKE = 4


@dataclass(frozen=True, slots=True)
class Edge:
    """A parent: a version's id, or of an import the digest of what was imported."""

    parent: bytes
    kind: EdgeKind


@dataclass(frozen=True, slots=True)
class Version:
    """What a version's id binds; `round_hash` is zero where the model was not trained here."""

    organisation: bytes
    model: bytes
    bundle: bytes
    round_hash: bytes
    datasets_root: bytes
    parents: tuple[Edge, ...]

    def fields(self) -> tuple[object, ...]:
        """Return the members as the contract takes them."""
        edges = [(each.parent, int(each.kind)) for each in self.parents]
        return (self.organisation, self.model, self.bundle, self.round_hash, self.datasets_root, edges)


@dataclass(frozen=True, slots=True)
class Vote:
    """An Approval or a Disposition without its subject; times in seconds."""

    signer: bytes
    role: int
    meaning: bytes
    evidence: bytes
    signed_at: int
    valid_until: int
    nonce: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class LinkRecord:
    """A link with the two heads that its hash binds: several, each before the last, prove the first one."""

    link: RoundLink
    previous_hash: bytes
    registry_head: bytes


def version_id(domain: Domain, version: Version) -> Digest:
    """Return the name of a version in the domain of its registry."""
    return keccak(encode(["uint256", "address", _VERSION], [domain.chain_id, domain.contract, version.fields()]))


def dataset_leaf(dataset: bytes) -> Digest:
    """Return the leaf of a dataset beneath a version's `datasets_root`."""
    return leaf_hash(["bytes32"], [dataset])


def datasets_tree(datasets: Iterable[bytes]) -> MerkleTree:
    """Return the tree of the datasets that a version was trained on."""
    return MerkleTree.of([dataset_leaf(each) for each in set(datasets)])


def meaning_of(sentence: str) -> Digest:
    """Return the digest of the sentence that a signer saw."""
    return tagged("meaning", sentence.encode())
