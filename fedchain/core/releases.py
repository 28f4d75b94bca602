"""Versions of a model: their names, states and edges, and the votes of reviewers, as ModelRegistry.sol has them."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from fedchain.core.abi import words
from fedchain.core.digest import Digest, hex32, tagged
from fedchain.core.eip712 import Domain
from fedchain.core.merkle import MerkleTree, leaf_hash
from fedchain.core.record import RoundLink

_OUTER: Final = ("uint256", "address", "uint256")
_INNER: Final = ("bytes32", "bytes32", "bytes32", "bytes32", "bytes32", "uint256", "uint256")
"""The members of a version with where its list of parents stands and how long that is."""


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


S: Final = VersionState
LIVE: Final = tuple(each for each in S if each not in (S.UNKNOWN, S.REVOKED))
MOVED_FROM: Final[Mapping[VersionState, tuple[VersionState, ...]]] = {
    S.DRAFT: (S.CANDIDATE,),
    S.CANDIDATE: (S.DRAFT, S.IN_REVIEW),
    S.IN_REVIEW: (S.CANDIDATE,),
    S.DEPLOYED: (S.APPROVED,),
    S.SUSPENDED: (S.APPROVED, S.DEPLOYED),
    S.SUPERSEDED: (S.APPROVED, S.DEPLOYED),
    S.REVOKED: LIVE,
}
"""From where its organisation may move a version to each state."""
DECIDED_FROM: Final[Mapping[Decision, tuple[VersionState, ...]]] = {
    Decision.APPROVE: (S.IN_REVIEW, S.SUSPENDED),
    Decision.SEND_BACK: (S.IN_REVIEW,),
    Decision.SUSPEND: (S.APPROVED, S.DEPLOYED),
    Decision.REVOKE: LIVE,
}
"""In which states reviewers may decide this."""
DECIDED_TO: Final[Mapping[Decision, VersionState]] = {
    Decision.APPROVE: S.APPROVED,
    Decision.SEND_BACK: S.CANDIDATE,
    Decision.SUSPEND: S.SUSPENDED,
    Decision.REVOKE: S.REVOKED,
}
DOES: Final[Mapping[Decision, str]] = {
    Decision.APPROVE: "approve",
    Decision.SEND_BACK: "send back",
    Decision.SUSPEND: "suspend",
    Decision.REVOKE: "revoke for good",
}


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


@dataclass(frozen=True, slots=True)
class Descent:
    """Versions from one to an ancestor, which came from `datasets`."""

    versions: tuple[Version, ...]
    datasets: frozenset[bytes]

    def behind(self, dataset: bytes) -> Behind:
        """Return the proof that the first version came from one of the datasets."""
        proof = datasets_tree(self.datasets).proof(dataset_leaf(dataset))
        return Behind(self.versions, dataset, tuple(proof))


@dataclass(frozen=True, slots=True)
class Behind:
    """A dataset behind the first of some versions: each is a parent of the one before it, the last came from it."""

    path: tuple[Version, ...]
    dataset: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Ancestry:
    """Every submitted version by its id, and the datasets beneath the own root of each."""

    versions: Mapping[bytes, Version]
    datasets: Mapping[bytes, frozenset[bytes]]

    def descents(self, name: bytes) -> tuple[Descent, ...]:
        """Return a way from a version to itself and to each of its ancestors, nearest first."""
        ways: dict[bytes, tuple[Version, ...]] = {name: (self.versions[name],)}
        left = [name]
        for child in left:
            known = [edge.parent for edge in self.versions[child].parents if edge.parent in self.versions]
            for parent in known:
                if parent not in ways:
                    ways[parent] = (*ways[child], self.versions[parent])
                    left.append(parent)
        return tuple(Descent(way, self.datasets[each]) for each, way in ways.items())


def version_id(domain: Domain, version: Version) -> Digest:
    """Return the name of a version in the domain of its registry.

    Raises:
        FormatError: if a member does not fit its Solidity type.
    """
    *fixed, _ = version.fields()
    outer = words(_OUTER, [domain.chain_id, domain.contract, 32 * len(_OUTER)])
    inner = words(_INNER, [*fixed, 32 * (len(_INNER) - 1), len(version.parents)])
    parents = b"".join(words(["bytes32", "uint8"], [each.parent, int(each.kind)]) for each in version.parents)
    return keccak(outer + inner + parents)


def dataset_leaf(dataset: bytes) -> Digest:
    """Return the leaf of a dataset beneath a version's `datasets_root`."""
    return leaf_hash(["bytes32"], [dataset])


def datasets_tree(datasets: Iterable[bytes]) -> MerkleTree:
    """Return the tree of the datasets that a version was trained on."""
    return MerkleTree.of([dataset_leaf(each) for each in set(datasets)])


def approval_words(name: bytes, decision: Decision) -> str:
    """Return what a reviewer does with a vote for a decision."""
    return f"{DOES[decision]} version {hex32(name)}"


def disposition_words(name: bytes, dataset: bytes) -> str:
    """Return what a reviewer does with a vote about a withdrawn dataset."""
    return f"let version {hex32(name)} be reviewed again although consent for dataset {hex32(dataset)} was withdrawn"


def vote_sentence(words: str, role: str, evidence: bytes) -> str:
    """Return the sentence that a reviewer sees before it signs; `meaning` is its digest."""
    report = f"on the report 0x{evidence.hex()}" if any(evidence) else "on no report"
    return f"{words}, as {role} reviewer, {report}"


def meaning_of(sentence: str) -> Digest:
    """Return the digest of the sentence that a signer saw."""
    return tagged("meaning", sentence.encode())
